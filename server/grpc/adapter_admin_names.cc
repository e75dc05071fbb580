// The calls of AdapterAdmin that are about names alone: aliases and pins in memory.

#include <spdlog/spdlog.h>

#include "base/status_macros.h"
#include "server/generation/error_details.h"
#include "server/generation/log_text.h"
#include "server/grpc/adapter_admin_service.h"
#include "server/grpc/adapter_page.h"
#include "server/grpc/proto_conversion.h"

namespace shira {

grpc::ServerUnaryReactor* AdapterAdminService::PinAdapter(grpc::CallbackServerContext* context,
                                                          const v1::PinAdapterRequest* request,
                                                          v1::PinAdapterResponse* response) {
  return FinishOnDisk(*context, [request, response](const Backend& backend) {
    return Pin(backend, *request, *response);
  });
}

absl::Status AdapterAdminService::Pin(const Backend& backend, const v1::PinAdapterRequest& request,
                                      v1::PinAdapterResponse& response) {
  const absl::StatusOr<AdapterInfo> info = backend.lifecycle.PinInMemory(request.name());
  if (!info.ok()) {
    return WithReason(info.status(), Operation::kUseAdapter, {{"name", request.name()}});
  }
  spdlog::info("adapter {}@{}: pinned", info->name, info->version);
  *response.mutable_adapter() = ToProto(*info, backend.model.parameter_count);
  return absl::OkStatus();
}

grpc::ServerUnaryReactor* AdapterAdminService::UnpinAdapter(grpc::CallbackServerContext* context,
                                                            const v1::UnpinAdapterRequest* request,
                                                            v1::UnpinAdapterResponse* response) {
  return FinishOnControl(*context, [request, response](const Backend& backend) -> absl::Status {
    const absl::StatusOr<AdapterInfo> info = backend.lifecycle.Unpin(request->name());
    if (!info.ok()) {
      return WithReason(info.status(), Operation::kUseAdapter, {{"name", request->name()}});
    }
    spdlog::info("adapter {}@{}: unpinned", info->name, info->version);
    *response->mutable_adapter() = ToProto(*info, backend.model.parameter_count);
    return absl::OkStatus();
  });
}

grpc::ServerUnaryReactor* AdapterAdminService::SetAlias(grpc::CallbackServerContext* context,
                                                        const v1::SetAliasRequest* request,
                                                        v1::SetAliasResponse* response) {
  return FinishOnControl(*context, [request, response](const Backend& backend) -> absl::Status {
    const absl::StatusOr<AliasInfo> alias =
        backend.lifecycle.SetAlias(request->name(), request->target());
    if (!alias.ok()) {
      return WithReason(alias.status(), Operation::kSetAlias,
                        {{"name", request->name()}, {"target", request->target()}});
    }
    spdlog::info("alias {}: names {}", alias->name, alias->target.ToString());
    *response->mutable_alias() = ToProto(*alias);
    return absl::OkStatus();
  });
}

grpc::ServerUnaryReactor* AdapterAdminService::RollbackAlias(
    grpc::CallbackServerContext* context, const v1::RollbackAliasRequest* request,
    v1::RollbackAliasResponse* response) {
  return FinishOnControl(*context, [request, response](const Backend& backend) -> absl::Status {
    const absl::StatusOr<AliasInfo> alias = backend.lifecycle.RollbackAlias(request->name());
    if (!alias.ok()) {
      return WithReason(alias.status(), Operation::kRollbackAlias, {{"name", request->name()}});
    }
    spdlog::info("alias {}: rolled back to {}", alias->name, alias->target.ToString());
    *response->mutable_alias() = ToProto(*alias);
    return absl::OkStatus();
  });
}

grpc::ServerUnaryReactor* AdapterAdminService::DeleteAlias(grpc::CallbackServerContext* context,
                                                           const v1::DeleteAliasRequest* request,
                                                           v1::DeleteAliasResponse* /*response*/) {
  return FinishOnControl(*context, [request](const Backend& backend) -> absl::Status {
    const absl::Status status = backend.lifecycle.DeleteAlias(request->name());
    if (!status.ok()) {
      return WithReason(status, Operation::kDeleteAlias, {{"name", request->name()}});
    }
    spdlog::info("alias {}: deleted", ForLog(request->name()));
    return absl::OkStatus();
  });
}

grpc::ServerUnaryReactor* AdapterAdminService::ListAliases(grpc::CallbackServerContext* context,
                                                           const v1::ListAliasesRequest* request,
                                                           v1::ListAliasesResponse* response) {
  return FinishHere(*context, [&](const Backend& backend) -> absl::Status {
    SHIRA_ASSIGN_OR_RETURN(const AliasPage page, PageOf(backend.lifecycle.Aliases(), *request));
    for (const AliasInfo& alias : page.aliases) *response->add_aliases() = ToProto(alias);
    response->set_next_page_token(page.next_page_token);
    return absl::OkStatus();
  });
}

}  // namespace shira
