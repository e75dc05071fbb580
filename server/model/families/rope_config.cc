#include "server/model/families/rope_config.h"

#include <string>

namespace shira {
namespace {

RopeScaling RopeScalingFromJson(const ConfigFields& rope, const ConfigFields& top,
                                int64_t max_position) {
  const std::string type = rope.String("rope_type", rope.String("type", "default"));
  RopeScaling scaling;
  if (type == "linear") {
    scaling.kind = RopeScaling::Kind::kLinear;
    scaling.factor = rope.Float("factor");
  } else if (type == "llama3") {
    scaling.kind = RopeScaling::Kind::kLlama3;
    scaling.factor = rope.Float("factor");
    scaling.low_freq_factor = rope.Float("low_freq_factor");
    scaling.high_freq_factor = rope.Float("high_freq_factor");
    scaling.original_max_position =
        top.Int("original_max_position_embeddings",
                rope.Int("original_max_position_embeddings", max_position));
  } else if (type != "default") {
    rope.Unsupported("rope_type", "'", type, "'; known are default, linear and llama3");
  }
  return scaling;
}

RopeScaling RopeScalingFromGguf(const ConfigFields& fields) {
  RopeScaling scaling;
  // Older files have the factor alone.
  const double factor = fields.Float("rope.scaling.factor", fields.Float("rope.scale_linear", 1.0));
  const std::string type = fields.String("rope.scaling.type", factor == 1.0 ? "none" : "linear");
  if (type == "linear") {
    scaling.kind = RopeScaling::Kind::kLinear;
    scaling.factor = factor;
  } else if (type != "none") {
    fields.Unsupported("rope.scaling.type", "'", type, "'; known are none and linear");
  }
  return scaling;
}

}  // namespace

Rope RopeFromJson(const std::optional<ConfigFields>& rope, const ConfigFields& top,
                  int64_t head_dim, int64_t max_position, const RopeRules& rules) {
  // Older files have these beside the object.
  const auto number = [&](const char* key, double absent) {
    const double beside = top.Float(key, absent);
    return rope ? rope->Float(key, beside) : beside;
  };
  Rope result;
  result.theta = number("rope_theta", rules.theta);
  if (rope) result.scaling = RopeScalingFromJson(*rope, top, max_position);
  const double part = number("partial_rotary_factor", rules.default_part);
  if (rules.partial && part > 0.0 && part <= 1.0) {
    result.rotary_dim = static_cast<int64_t>(static_cast<double>(head_dim) * part);
  } else if (part != 1.0) {
    (rope && rope->Has("partial_rotary_factor") ? *rope : top)
        .Unsupported("partial_rotary_factor", "only 1 is known");
  }
  return result;
}

Rope RopeFromGguf(const GgufFile&, const ConfigFields& fields, int64_t head_dim, int64_t,
                  const RopeRules& rules) {
  Rope result = {.theta = fields.Float("rope.freq_base", rules.theta),
                 .scaling = RopeScalingFromGguf(fields)};
  constexpr const char* kCount = "rope.dimension_count";
  const int64_t turned = fields.Int(kCount, head_dim);
  if (rules.partial && turned > 0 && turned <= head_dim) {
    result.rotary_dim = turned;
  } else if (turned != head_dim) {
    fields.Unsupported(kCount, turned, "; only the width of a head, ", head_dim, ", is known");
  }
  return result;
}

}  // namespace shira
