// File: server/service/alias_calls.h
//
// The calls of AdapterAdmin that are about names alone: aliases and pins in memory. Each has the
// ErrorInfo that the API promises.

#ifndef SHIRA_SERVER_SERVICE_ALIAS_CALLS_H_
#define SHIRA_SERVER_SERVICE_ALIAS_CALLS_H_

#include "absl/status/status.h"
#include "server/service/backend.h"
#include "shira/v1/adapter_admin.pb.h"

namespace shira {

absl::Status SetAlias(const Backend& backend, const v1::SetAliasRequest& request,
                      v1::SetAliasResponse& response);
absl::Status RollbackAlias(const Backend& backend, const v1::RollbackAliasRequest& request,
                           v1::RollbackAliasResponse& response);
absl::Status DeleteAlias(const Backend& backend, const v1::DeleteAliasRequest& request);
void ListAliases(const Backend& backend, v1::ListAliasesResponse& response);

absl::Status PinAdapter(const Backend& backend, const v1::PinAdapterRequest& request,
                        v1::PinAdapterResponse& response);
absl::Status UnpinAdapter(const Backend& backend, const v1::UnpinAdapterRequest& request,
                          v1::UnpinAdapterResponse& response);

}  // namespace shira

#endif  // SHIRA_SERVER_SERVICE_ALIAS_CALLS_H_
