#include "client/adapter_routing.h"

#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_join.h"

namespace shira {

std::string AdapterRoutingKey(const v1::GenerateRequest& request) {
  std::vector<std::string> names;
  for (const v1::WeightedAdapter& term : request.adapter().adapters()) names.push_back(term.name());
  std::sort(names.begin(), names.end());
  std::string key = absl::StrJoin(names, "+");
  const bool printable = std::all_of(key.begin(), key.end(), [](char c) {
    return absl::ascii_isgraph(static_cast<unsigned char>(c));
  });
  return printable ? key : std::string();
}

}  // namespace shira
