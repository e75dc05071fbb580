#include "server/model/families/rope_config.h"

#include <cmath>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

namespace shira {
namespace {

using Kind = RopeScaling::Kind;

double LongRopeStrength(double factor, int64_t original_max_position) {
  if (factor <= 1.0) return 1.0;
  return std::sqrt(1.0 + std::log(factor) / std::log(static_cast<double>(original_max_position)));
}

// 0 counts as absent, as in transformers.
double NonZero(const ConfigFields& fields, const char* key, double absent) {
  const double value = fields.Float(key, absent);
  return value == 0.0 ? absent : value;
}

std::string ScalingName(const ConfigFields& rope, const RopeRules& rules) {
  const std::string type = rope.String("rope_type", rope.String("type", "default"));
  return rules.longrope_alone && (type == "su" || type == "yarn") ? "longrope" : type;
}

RopeScaling ScalingFromJson(const ConfigFields& rope, const ConfigFields& top, int64_t max_position,
                            const RopeRules& rules) {
  const std::string type = ScalingName(rope, rules);
  RopeScaling scaling;
  const int64_t own_length = rope.Int("original_max_position_embeddings", max_position);
  const int64_t original =
      top.Int("original_max_position_embeddings",
              rules.original_max_position > 0 ? rules.original_max_position : own_length);
  scaling.original_max_position = original;
  if (type == "default") return scaling;
  if (rules.longrope_alone && type != "longrope") {
    rope.Unsupported("rope_type", "'", type, "'; known are default and longrope");
    return scaling;
  }
  // Where the factor may be left out.
  const double growth = static_cast<double>(max_position) / static_cast<double>(original);
  if (type == "linear") {
    scaling.kind = Kind::kLinear;
    scaling.factor = rope.Float("factor");
  } else if (type == "dynamic") {
    scaling.kind = Kind::kDynamic;
    scaling.factor = rope.Float("factor");
    scaling.original_max_position = max_position;
  } else if (type == "llama3") {
    scaling.kind = Kind::kLlama3;
    scaling.factor = rope.Float("factor");
    scaling.low_freq_factor = rope.Float("low_freq_factor");
    scaling.high_freq_factor = rope.Float("high_freq_factor");
  } else if (type == "yarn") {
    scaling.kind = Kind::kYarn;
    scaling.factor = rope.Float("factor", growth);
    const double mscale = rope.Float("mscale", 0.0);
    const double mscale_all = rope.Float("mscale_all_dim", 0.0);
    scaling.attention_factor =
        rope.Float("attention_factor", mscale != 0.0 && mscale_all != 0.0
                                           ? YarnStrength(scaling.factor, mscale) /
                                                 YarnStrength(scaling.factor, mscale_all)
                                           : YarnStrength(scaling.factor, 1.0));
    scaling.beta_fast = NonZero(rope, "beta_fast", scaling.beta_fast);
    scaling.beta_slow = NonZero(rope, "beta_slow", scaling.beta_slow);
    scaling.truncate = rope.Bool("truncate", true);
  } else if (type == "longrope") {
    scaling.kind = Kind::kLongRope;
    scaling.factor = rope.Float("factor", growth);
    scaling.attention_factor =
        rope.Float("attention_factor", LongRopeStrength(scaling.factor, original));
    scaling.short_factors = rope.Floats("short_factor");
    scaling.long_factors = rope.Floats("long_factor");
  } else {
    rope.Unsupported("rope_type", "'", type,
                     "'; known are default, linear, dynamic, llama3, yarn and longrope");
  }
  return scaling;
}

// Empty where there is no such tensor, or one of another type.
std::vector<double> FactorsOf(const GgufFile& gguf, std::string_view name) {
  const auto found = gguf.tensors().find(std::string(name));
  if (found == gguf.tensors().end()) return {};
  const GgufTensor& tensor = found->second;
  if (tensor.type != GgmlType::kF32 || tensor.shape.size() != 1) return {};
  std::vector<float> values(tensor.shape[0]);
  std::memcpy(values.data(), tensor.data.data(), values.size() * sizeof(float));
  return {values.begin(), values.end()};
}

RopeScaling ScalingFromGguf(const GgufFile& gguf, const ConfigFields& fields,
                            int64_t max_position) {
  RopeScaling scaling;
  // Older files have the factor alone.
  const double factor = fields.Float("rope.scaling.factor", fields.Float("rope.scale_linear", 1.0));
  // Files with factors of each frequency name no scaling, or this one.
  const bool has_factors = gguf.tensors().count(std::string(kGgufLongFactors)) > 0;
  std::string type = fields.String("rope.scaling.type", factor == 1.0 ? "none" : "linear");
  if (has_factors && type == "none") type = "longrope";
  scaling.original_max_position = fields.Int("rope.scaling.original_context_length", max_position);
  scaling.attention_factor = fields.Float("rope.scaling.attn_factor", 1.0);
  if (type == "linear") {
    scaling.kind = Kind::kLinear;
    scaling.factor = factor;
  } else if (type == "yarn") {
    scaling.kind = Kind::kYarn;
    scaling.factor = factor;
    const double mscale_all = fields.Float("rope.scaling.yarn_log_multiplier", 0.0);
    scaling.attention_factor *= YarnStrength(factor, 1.0) / YarnStrength(factor, mscale_all);
    scaling.beta_fast = fields.Float("rope.scaling.yarn_beta_fast", scaling.beta_fast);
    scaling.beta_slow = fields.Float("rope.scaling.yarn_beta_slow", scaling.beta_slow);
    for (const char* key : {"rope.scaling.yarn_ext_factor", "rope.scaling.yarn_attn_factor"}) {
      if (fields.Float(key, 1.0) != 1.0) fields.Unsupported(key, "only 1 is known");
    }
  } else if (type == "longrope") {
    scaling.kind = Kind::kLongRope;
    scaling.short_factors = FactorsOf(gguf, kGgufShortFactors);
    scaling.long_factors = FactorsOf(gguf, kGgufLongFactors);
  } else if (type != "none") {
    fields.Unsupported("rope.scaling.type", "'", type,
                       "'; known are none, linear, yarn and longrope");
  }
  return scaling;
}

}  // namespace

double YarnStrength(double factor, double mscale) {
  return factor <= 1.0 ? 1.0 : 0.1 * mscale * std::log(factor) + 1.0;
}

Rope RopeFromJson(const std::optional<ConfigFields>& rope, const ConfigFields& top,
                  int64_t head_dim, int64_t max_position, const RopeRules& rules) {
  // Older files have these beside the object.
  const auto number = [&](const char* key, double absent) {
    const double beside = top.Float(key, absent);
    return rope ? rope->Float(key, beside) : beside;
  };
  Rope result;
  result.theta = number("rope_theta", rules.theta);
  if (rope) result.scaling = ScalingFromJson(*rope, top, max_position, rules);
  result.scaling.ChooseFactors(max_position);
  const double part = number("partial_rotary_factor", rules.default_part);
  if (rules.partial && part > 0.0 && part <= 1.0) {
    result.rotary_dim = static_cast<int64_t>(static_cast<double>(head_dim) * part);
  } else if (part != 1.0) {
    (rope && rope->Has("partial_rotary_factor") ? *rope : top)
        .Unsupported("partial_rotary_factor", part, "; known is ",
                     rules.partial ? "a part of a head" : "1 alone");
  }
  if (rope && rules.scales_queries) {
    result.query_scale_beta = rope->Float("llama_4_scaling_beta");
  }
  return result;
}

Rope RopeFromGguf(const GgufFile& gguf, const ConfigFields& fields, int64_t head_dim,
                  int64_t max_position, const RopeRules& rules) {
  Rope result;
  result.theta = fields.Float("rope.freq_base", rules.theta);
  result.scaling = ScalingFromGguf(gguf, fields, max_position);
  result.scaling.ChooseFactors(max_position);
  constexpr const char* kCount = "rope.dimension_count";
  constexpr const char* kQueryScale = "attention.temperature_scale";
  const int64_t turned = fields.Int(kCount, head_dim);
  if (rules.partial && turned > 0 && turned <= head_dim) {
    result.rotary_dim = turned;
  } else if (turned != head_dim) {
    fields.Unsupported(kCount, turned, "; known is ", rules.partial ? "a part" : "the width",
                       " of a head, ", head_dim);
  }
  if (rules.scales_queries) {
    result.query_scale_beta = fields.Float(kQueryScale, 0.0);
  } else if (fields.Float(kQueryScale, 0.0) != 0.0) {
    fields.Unsupported(kQueryScale, "not known of this family");
  }
  return result;
}

}  // namespace shira
