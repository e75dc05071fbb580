// File: server/grpc/adapter_admin_service.h
//
// shira.v1.AdapterAdmin. Thin: converts, and calls the life cycle and the engine. Calls that read
// adapters do so on the lane that generations use for it, so that a disk that hangs holds no thread of
// gRPC's. The others block by nature, on running requests, on the engine's next step, on the client's
// stream; they are few, and gRPC gives each a thread of its own.

#ifndef SHIRA_SERVER_GRPC_ADAPTER_ADMIN_SERVICE_H_
#define SHIRA_SERVER_GRPC_ADAPTER_ADMIN_SERVICE_H_

#include <grpcpp/server_context.h>
#include <grpcpp/support/server_callback.h>
#include <grpcpp/support/status.h>

#include <functional>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "base/steady_clock.h"
#include "server/generation/backend.h"
#include "server/generation/service_context.h"
#include "server/grpc/adapter_upload.h"
#include "server/lifecycle/lifecycle_types.h"
#include "shira/v1/adapter_admin.grpc.pb.h"

namespace shira {

// The service with the calls that read adapters as asynchronous ones.
using AsyncLoadAdapter =
    v1::AdapterAdmin::WithCallbackMethod_LoadAdapter<v1::AdapterAdmin::Service>;
using AsyncGetAdapter = v1::AdapterAdmin::WithCallbackMethod_GetAdapter<AsyncLoadAdapter>;
using AsyncApplyAdapter = v1::AdapterAdmin::WithCallbackMethod_ApplyAdapter<AsyncGetAdapter>;
using AsyncPinAdapter = v1::AdapterAdmin::WithCallbackMethod_PinAdapter<AsyncApplyAdapter>;
using AdapterAdminMethods = v1::AdapterAdmin::WithCallbackMethod_CreateBlend<AsyncPinAdapter>;

class AdapterAdminService final : public AdapterAdminMethods {
 public:
  // What `context` refers to must outlive this object.
  explicit AdapterAdminService(const ServiceContext& context,
                               absl::Duration upload_idle_timeout = kUploadIdleTimeout)
      : context_(context), gate_(context.gate), upload_idle_timeout_(upload_idle_timeout) {}

  grpc::ServerUnaryReactor* LoadAdapter(grpc::CallbackServerContext* context,
                                        const v1::LoadAdapterRequest* request,
                                        v1::LoadAdapterResponse* response) override;
  grpc::ServerUnaryReactor* CreateBlend(grpc::CallbackServerContext* context,
                                        const v1::CreateBlendRequest* request,
                                        v1::CreateBlendResponse* response) override;
  grpc::ServerUnaryReactor* GetAdapter(grpc::CallbackServerContext* context,
                                       const v1::GetAdapterRequest* request,
                                       v1::GetAdapterResponse* response) override;
  grpc::ServerUnaryReactor* ApplyAdapter(grpc::CallbackServerContext* context,
                                         const v1::ApplyAdapterRequest* request,
                                         v1::ApplyAdapterResponse* response) override;
  grpc::ServerUnaryReactor* PinAdapter(grpc::CallbackServerContext* context,
                                       const v1::PinAdapterRequest* request,
                                       v1::PinAdapterResponse* response) override;

  grpc::Status UploadAdapter(grpc::ServerContext* context,
                             grpc::ServerReader<v1::UploadAdapterRequest>* stream,
                             v1::UploadAdapterResponse* response) override;
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
  grpc::Status UnloadAdapter(grpc::ServerContext* context, const v1::UnloadAdapterRequest* request,
                             v1::UnloadAdapterResponse* response) override;
  grpc::Status ListAdapters(grpc::ServerContext* context, const v1::ListAdaptersRequest* request,
                            v1::ListAdaptersResponse* response) override;
  grpc::Status RevertAdapter(grpc::ServerContext* context, const v1::RevertAdapterRequest* request,
                             v1::RevertAdapterResponse* response) override;
  grpc::Status GetResidentState(grpc::ServerContext* context,
                                const v1::GetResidentStateRequest* request,
                                v1::GetResidentStateResponse* response) override;
  grpc::Status VerifyWeights(grpc::ServerContext* context, const v1::VerifyWeightsRequest* request,
                             v1::VerifyWeightsResponse* response) override;

 private:
  static absl::Status Load(const Backend& backend, const v1::LoadAdapterRequest& request,
                           v1::LoadAdapterResponse& response);
  absl::Status Upload(grpc::ServerContext& context,
                      grpc::ServerReader<v1::UploadAdapterRequest>& stream,
                      v1::UploadAdapterResponse& response);
  static absl::Status Blend(const Backend& backend, const v1::CreateBlendRequest& request,
                            v1::CreateBlendResponse& response);
  absl::Status Unload(const v1::UnloadAdapterRequest& request, const grpc::ServerContext& context);
  static absl::Status Get(const Backend& backend, const v1::GetAdapterRequest& request,
                          v1::GetAdapterResponse& response);
  static absl::Status Apply(const Backend& backend, const v1::ApplyAdapterRequest& request,
                            SteadyTime deadline, v1::ApplyAdapterResponse& response);
  absl::Status Revert(SteadyTime deadline, v1::RevertAdapterResponse& response);
  absl::Status Verify(SteadyTime deadline, v1::VerifyWeightsResponse& response);

  // AdapterLifecycle::MakeDefault(), with the reasons that the API promises, and logged.
  static absl::StatusOr<DefaultChangeResult> MakeDefault(
      const Backend& backend, absl::Span<const AdapterSelectionTerm> terms, SteadyTime deadline);
  static absl::Status Pin(const Backend& backend, const v1::PinAdapterRequest& request,
                          v1::PinAdapterResponse& response);
  // As FinishOn(), for those who come through the gate.
  grpc::ServerUnaryReactor* FinishOnDisk(grpc::CallbackServerContext& context,
                                         std::function<absl::Status(const Backend&)> work);

  const ServiceContext context_;
  const BackendGate& gate_;
  const absl::Duration upload_idle_timeout_;
};

}  // namespace shira

#endif  // SHIRA_SERVER_GRPC_ADAPTER_ADMIN_SERVICE_H_
