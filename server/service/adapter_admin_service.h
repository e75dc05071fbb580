// File: server/service/adapter_admin_service.h
//
// shira.v1.AdapterAdmin. Thin: calls the life cycle and the engine. Synchronous API, since its calls
// block by nature: on the disk, on running requests and on the engine's next step. They are few,
// and gRPC gives each a thread of its own.

#ifndef SHIRA_SERVER_SERVICE_ADAPTER_ADMIN_SERVICE_H_
#define SHIRA_SERVER_SERVICE_ADAPTER_ADMIN_SERVICE_H_

#include <grpcpp/server_context.h>
#include <grpcpp/support/status.h>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "base/steady_clock.h"
#include "server/service/adapter_upload.h"
#include "server/service/backend.h"
#include "shira/v1/adapter_admin.grpc.pb.h"

namespace shira {

class AdapterAdminService final : public v1::AdapterAdmin::Service {
 public:
  // `gate` must outlive this object.
  explicit AdapterAdminService(const BackendGate& gate,
                               absl::Duration upload_idle_timeout = kUploadIdleTimeout)
      : gate_(gate), upload_idle_timeout_(upload_idle_timeout) {}

  grpc::Status LoadAdapter(grpc::ServerContext* context, const v1::LoadAdapterRequest* request,
                           v1::LoadAdapterResponse* response) override;
  grpc::Status UploadAdapter(grpc::ServerContext* context,
                             grpc::ServerReader<v1::UploadAdapterRequest>* stream,
                             v1::UploadAdapterResponse* response) override;
  grpc::Status PinAdapter(grpc::ServerContext* context, const v1::PinAdapterRequest* request,
                          v1::PinAdapterResponse* response) override;
  grpc::Status UnpinAdapter(grpc::ServerContext* context, const v1::UnpinAdapterRequest* request,
                            v1::UnpinAdapterResponse* response) override;
  grpc::Status SetAlias(grpc::ServerContext* context, const v1::SetAliasRequest* request,
                        v1::SetAliasResponse* response) override;
  grpc::Status RollbackAlias(grpc::ServerContext* context, const v1::RollbackAliasRequest* request,
                             v1::RollbackAliasResponse* response) override;
  grpc::Status DeleteAlias(grpc::ServerContext* context, const v1::DeleteAliasRequest* request,
                           v1::DeleteAliasResponse* response) override;
  grpc::Status ListAliases(grpc::ServerContext* context, const v1::ListAliasesRequest* request,
                           v1::ListAliasesResponse* response) override;
  grpc::Status CreateBlend(grpc::ServerContext* context, const v1::CreateBlendRequest* request,
                           v1::CreateBlendResponse* response) override;
  grpc::Status UnloadAdapter(grpc::ServerContext* context, const v1::UnloadAdapterRequest* request,
                             v1::UnloadAdapterResponse* response) override;
  grpc::Status ListAdapters(grpc::ServerContext* context, const v1::ListAdaptersRequest* request,
                            v1::ListAdaptersResponse* response) override;
  grpc::Status GetAdapter(grpc::ServerContext* context, const v1::GetAdapterRequest* request,
                          v1::GetAdapterResponse* response) override;
  grpc::Status ApplyAdapter(grpc::ServerContext* context, const v1::ApplyAdapterRequest* request,
                            v1::ApplyAdapterResponse* response) override;
  grpc::Status RevertAdapter(grpc::ServerContext* context, const v1::RevertAdapterRequest* request,
                             v1::RevertAdapterResponse* response) override;
  grpc::Status GetResidentState(grpc::ServerContext* context,
                                const v1::GetResidentStateRequest* request,
                                v1::GetResidentStateResponse* response) override;
  grpc::Status VerifyWeights(grpc::ServerContext* context, const v1::VerifyWeightsRequest* request,
                             v1::VerifyWeightsResponse* response) override;

 private:
  struct AppliedState {
    v1::ResidentState state;
    SwitchStats stats;
  };

  absl::Status Load(const v1::LoadAdapterRequest& request, v1::LoadAdapterResponse& response);
  absl::Status Upload(grpc::ServerContext& context,
                      grpc::ServerReader<v1::UploadAdapterRequest>& stream,
                      v1::UploadAdapterResponse& response);
  absl::Status CreateBlend(const v1::CreateBlendRequest& request,
                           v1::CreateBlendResponse& response);
  absl::Status Unload(const v1::UnloadAdapterRequest& request, const grpc::ServerContext& context);
  absl::Status Get(const v1::GetAdapterRequest& request, v1::GetAdapterResponse& response);
  absl::Status Apply(const v1::ApplyAdapterRequest& request, SteadyTime deadline,
                     v1::ApplyAdapterResponse& response);
  absl::Status Revert(SteadyTime deadline, v1::RevertAdapterResponse& response);
  absl::Status Verify(SteadyTime deadline, v1::VerifyWeightsResponse& response);

  // Makes a set resident and the default, one caller at a time. On an error the default is as it
  // was.
  absl::StatusOr<AppliedState> MakeDefault(const Backend& backend,
                                           absl::Span<const AdapterSelectionTerm> terms,
                                           SteadyTime deadline) ABSL_LOCKS_EXCLUDED(mutex_);

  const BackendGate& gate_;
  const absl::Duration upload_idle_timeout_;

  absl::Mutex mutex_;
  bool changing_default_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace shira

#endif  // SHIRA_SERVER_SERVICE_ADAPTER_ADMIN_SERVICE_H_
