// File: tools/parameter_name.h
//
// Where a parameter is in its model, by its name alone.

#ifndef SHIRA_TOOLS_PARAMETER_NAME_H_
#define SHIRA_TOOLS_PARAMETER_NAME_H_

#include <optional>
#include <string>
#include <string_view>

namespace shira::tools {

// "model.layers.12.self_attn.q_proj.weight": layer 12, part "self_attn.q_proj". A name without a
// number is all part.
struct ParameterPlace {
  std::optional<int> layer;
  std::string part;  // without ".weight"
};

ParameterPlace PlaceOf(std::string_view parameter);

}  // namespace shira::tools

#endif  // SHIRA_TOOLS_PARAMETER_NAME_H_
