#include "client/cli/adapter_names.h"

#include <set>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace shira::cli {

std::vector<std::string> AdapterNames(const Client& client, const CallOptions& options) {
  std::set<std::string> names;
  const absl::StatusOr<std::vector<v1::Adapter>> adapters = client.ListAdapters(options);
  if (!adapters.ok()) return {};
  for (const v1::Adapter& adapter : *adapters) names.insert(adapter.name());
  const absl::StatusOr<std::vector<v1::Alias>> aliases = client.ListAliases(options);
  if (aliases.ok()) {
    for (const v1::Alias& alias : *aliases) names.insert(alias.name());
  }
  return {names.begin(), names.end()};
}

}  // namespace shira::cli
