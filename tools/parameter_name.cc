#include "tools/parameter_name.h"

#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "base/strings.h"

namespace shira::tools {

ParameterPlace PlaceOf(std::string_view parameter) {
  const absl::string_view path = absl::StripSuffix(ToAbsl(parameter), ".weight");
  const std::vector<std::string> components = absl::StrSplit(path, '.');
  for (size_t i = 0; i + 1 < components.size(); ++i) {
    int layer;
    if (!absl::SimpleAtoi(components[i], &layer) || layer < 0) continue;
    return {layer, absl::StrJoin(components.begin() + static_cast<ptrdiff_t>(i) + 1,
                                 components.end(), ".")};
  }
  return {std::nullopt, std::string(path)};
}

}  // namespace shira::tools
