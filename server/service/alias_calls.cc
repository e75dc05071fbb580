#include "server/service/alias_calls.h"

#include <spdlog/spdlog.h>

#include "server/service/error_details.h"
#include "server/service/log_text.h"
#include "server/service/proto_conversion.h"

namespace shira {

absl::Status SetAlias(const Backend& backend, const v1::SetAliasRequest& request,
                      v1::SetAliasResponse& response) {
  const absl::StatusOr<AliasInfo> alias =
      backend.registry.SetAlias(request.name(), request.target());
  if (!alias.ok()) {
    return WithReason(alias.status(), Operation::kSetAlias,
                      {{"name", request.name()}, {"target", request.target()}});
  }
  spdlog::info("alias {}: names {}", alias->name, alias->target.ToString());
  *response.mutable_alias() = ToProto(*alias);
  return absl::OkStatus();
}

absl::Status RollbackAlias(const Backend& backend, const v1::RollbackAliasRequest& request,
                           v1::RollbackAliasResponse& response) {
  const absl::StatusOr<AliasInfo> alias = backend.registry.RollbackAlias(request.name());
  if (!alias.ok()) {
    return WithReason(alias.status(), Operation::kRollbackAlias, {{"name", request.name()}});
  }
  spdlog::info("alias {}: rolled back to {}", alias->name, alias->target.ToString());
  *response.mutable_alias() = ToProto(*alias);
  return absl::OkStatus();
}

absl::Status DeleteAlias(const Backend& backend, const v1::DeleteAliasRequest& request) {
  const absl::Status status = backend.registry.DeleteAlias(request.name());
  if (!status.ok()) {
    return WithReason(status, Operation::kDeleteAlias, {{"name", request.name()}});
  }
  spdlog::info("alias {}: deleted", ForLog(request.name()));
  return absl::OkStatus();
}

void ListAliases(const Backend& backend, v1::ListAliasesResponse& response) {
  for (const AliasInfo& alias : backend.registry.Aliases()) {
    *response.add_aliases() = ToProto(alias);
  }
}

absl::Status PinAdapter(const Backend& backend, const v1::PinAdapterRequest& request,
                        v1::PinAdapterResponse& response) {
  const absl::StatusOr<AdapterInfo> info = backend.registry.PinInMemory(request.name());
  if (!info.ok()) {
    return WithReason(info.status(), Operation::kUseAdapter, {{"name", request.name()}});
  }
  spdlog::info("adapter {}@{}: pinned", info->name, info->version);
  *response.mutable_adapter() = ToProto(*info, backend.model.parameter_count);
  return absl::OkStatus();
}

absl::Status UnpinAdapter(const Backend& backend, const v1::UnpinAdapterRequest& request,
                          v1::UnpinAdapterResponse& response) {
  const absl::StatusOr<AdapterInfo> info = backend.registry.Unpin(request.name());
  if (!info.ok()) {
    return WithReason(info.status(), Operation::kUseAdapter, {{"name", request.name()}});
  }
  spdlog::info("adapter {}@{}: unpinned", info->name, info->version);
  *response.mutable_adapter() = ToProto(*info, backend.model.parameter_count);
  return absl::OkStatus();
}

}  // namespace shira
