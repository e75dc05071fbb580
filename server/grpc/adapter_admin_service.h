// File: server/grpc/adapter_admin_service.h
//
// shira.v1.AdapterAdmin. Thin: converts, and calls the life cycle and the engine. No call holds a
// thread of gRPC's while it waits: what reads adapters is done on the lane that generations use for
// it, and what waits for running requests, for the engine or for the state file on one of its own,
// so that adapters are read for those requests meanwhile. What only looks is answered at once.

#ifndef SHIRA_SERVER_GRPC_ADAPTER_ADMIN_SERVICE_H_
#define SHIRA_SERVER_GRPC_ADAPTER_ADMIN_SERVICE_H_

#include <grpcpp/server_context.h>
#include <grpcpp/support/server_callback.h>

#include <functional>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "base/steady_clock.h"
#include "base/work_queue.h"
#include "server/generation/backend.h"
#include "server/generation/service_context.h"
#include "server/grpc/adapter_upload.h"
#include "server/lifecycle/lifecycle_types.h"
#include "shira/v1/adapter_admin.grpc.pb.h"

namespace shira {

class AdapterAdminService final : public v1::AdapterAdmin::CallbackService {
 public:
  // What `context` refers to must outlive this object.
  explicit AdapterAdminService(const ServiceContext& context,
                               absl::Duration upload_idle_timeout = kUploadIdleTimeout)
      : context_(context), gate_(context.gate), upload_idle_timeout_(upload_idle_timeout) {}

  grpc::ServerReadReactor<v1::UploadAdapterRequest>* UploadAdapter(
      grpc::CallbackServerContext* context, v1::UploadAdapterResponse* response) override;
  grpc::ServerUnaryReactor* LoadAdapter(grpc::CallbackServerContext* context,
                                        const v1::LoadAdapterRequest* request,
                                        v1::LoadAdapterResponse* response) override;
  grpc::ServerUnaryReactor* CreateBlend(grpc::CallbackServerContext* context,
                                        const v1::CreateBlendRequest* request,
                                        v1::CreateBlendResponse* response) override;
  grpc::ServerUnaryReactor* UnloadAdapter(grpc::CallbackServerContext* context,
                                          const v1::UnloadAdapterRequest* request,
                                          v1::UnloadAdapterResponse* response) override;
  grpc::ServerUnaryReactor* ListAdapters(grpc::CallbackServerContext* context,
                                         const v1::ListAdaptersRequest* request,
                                         v1::ListAdaptersResponse* response) override;
  grpc::ServerUnaryReactor* GetAdapter(grpc::CallbackServerContext* context,
                                       const v1::GetAdapterRequest* request,
                                       v1::GetAdapterResponse* response) override;
  grpc::ServerUnaryReactor* PinAdapter(grpc::CallbackServerContext* context,
                                       const v1::PinAdapterRequest* request,
                                       v1::PinAdapterResponse* response) override;
  grpc::ServerUnaryReactor* UnpinAdapter(grpc::CallbackServerContext* context,
                                         const v1::UnpinAdapterRequest* request,
                                         v1::UnpinAdapterResponse* response) override;
  grpc::ServerUnaryReactor* SetAlias(grpc::CallbackServerContext* context,
                                     const v1::SetAliasRequest* request,
                                     v1::SetAliasResponse* response) override;
  grpc::ServerUnaryReactor* RollbackAlias(grpc::CallbackServerContext* context,
                                          const v1::RollbackAliasRequest* request,
                                          v1::RollbackAliasResponse* response) override;
  grpc::ServerUnaryReactor* DeleteAlias(grpc::CallbackServerContext* context,
                                        const v1::DeleteAliasRequest* request,
                                        v1::DeleteAliasResponse* response) override;
  grpc::ServerUnaryReactor* ListAliases(grpc::CallbackServerContext* context,
                                        const v1::ListAliasesRequest* request,
                                        v1::ListAliasesResponse* response) override;
  grpc::ServerUnaryReactor* ApplyAdapter(grpc::CallbackServerContext* context,
                                         const v1::ApplyAdapterRequest* request,
                                         v1::ApplyAdapterResponse* response) override;
  grpc::ServerUnaryReactor* RevertAdapter(grpc::CallbackServerContext* context,
                                          const v1::RevertAdapterRequest* request,
                                          v1::RevertAdapterResponse* response) override;
  grpc::ServerUnaryReactor* GetResidentState(grpc::CallbackServerContext* context,
                                             const v1::GetResidentStateRequest* request,
                                             v1::GetResidentStateResponse* response) override;
  grpc::ServerUnaryReactor* VerifyWeights(grpc::CallbackServerContext* context,
                                          const v1::VerifyWeightsRequest* request,
                                          v1::VerifyWeightsResponse* response) override;

 private:
  static absl::Status Load(const Backend& backend, const v1::LoadAdapterRequest& request,
                           v1::LoadAdapterResponse& response);
  static absl::Status Blend(const Backend& backend, const v1::CreateBlendRequest& request,
                            v1::CreateBlendResponse& response);
  static absl::Status Unload(const Backend& backend, const v1::UnloadAdapterRequest& request,
                             SteadyTime deadline, std::function<bool()> is_cancelled);
  static absl::Status Get(const Backend& backend, const v1::GetAdapterRequest& request,
                          v1::GetAdapterResponse& response);
  static absl::Status Pin(const Backend& backend, const v1::PinAdapterRequest& request,
                          v1::PinAdapterResponse& response);
  static absl::Status Apply(const Backend& backend, const v1::ApplyAdapterRequest& request,
                            SteadyTime deadline, v1::ApplyAdapterResponse& response);
  static absl::Status Revert(const Backend& backend, SteadyTime deadline,
                             v1::RevertAdapterResponse& response);
  static absl::Status Verify(const Backend& backend, SteadyTime deadline,
                             v1::VerifyWeightsResponse& response);
  // AdapterLifecycle::MakeDefault(), with the reasons that the API promises, and logged.
  static absl::StatusOr<DefaultChangeResult> MakeDefault(
      const Backend& backend, absl::Span<const AdapterSelectionTerm> terms, SteadyTime deadline);

  // For calls that need the gate to be open: answered here, or as FinishOn() in one of the lanes.
  using Work = std::function<absl::Status(const Backend&)>;
  grpc::ServerUnaryReactor* FinishHere(grpc::CallbackServerContext& context,
                                       const Work& work) const;
  grpc::ServerUnaryReactor* FinishOnDisk(grpc::CallbackServerContext& context, Work work);
  grpc::ServerUnaryReactor* FinishOnControl(grpc::CallbackServerContext& context, Work work);
  grpc::ServerUnaryReactor* FinishOnLane(WorkQueue& lane, grpc::CallbackServerContext& context,
                                         Work work);

  const ServiceContext context_;
  const BackendGate& gate_;
  const absl::Duration upload_idle_timeout_;
};

}  // namespace shira

#endif  // SHIRA_SERVER_GRPC_ADAPTER_ADMIN_SERVICE_H_
