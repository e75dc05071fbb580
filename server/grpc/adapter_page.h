// File: server/grpc/adapter_page.h
//
// ListAdapters' filters and paging, and ListAliases' paging. Pure.

#ifndef SHIRA_SERVER_GRPC_ADAPTER_PAGE_H_
#define SHIRA_SERVER_GRPC_ADAPTER_PAGE_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "server/lifecycle/adapter_lifecycle.h"
#include "shira/v1/adapter_admin.pb.h"

namespace shira {

struct AdapterPage {
  std::vector<AdapterInfo> adapters;
  std::string next_page_token;  // empty: this is the last page
};

// The page of `all` (in the order of names, then versions) that follows the one that gave the
// request's token, of those that match the request's filters. A page has at most so many bytes that
// every client takes it, or one adapter. The token holds the last name and
// version of that page, so adapters that come or go between two pages make no other adapter occur
// twice or be missed. INVALID_ARGUMENT for a negative size, a token that no page gave, or a state
// or residency that there is not.
absl::StatusOr<AdapterPage> PageOf(std::vector<AdapterInfo> all,
                                   const v1::ListAdaptersRequest& request);

struct AliasPage {
  std::vector<AliasInfo> aliases;
  std::string next_page_token;  // empty: this is the last page
};

// The same for aliases, which are in the order of their names.
absl::StatusOr<AliasPage> PageOf(std::vector<AliasInfo> all, const v1::ListAliasesRequest& request);

}  // namespace shira

#endif  // SHIRA_SERVER_GRPC_ADAPTER_PAGE_H_
