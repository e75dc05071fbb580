#include "server/model/model_config.h"

#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>

#include "absl/status/status.h"
#include "base/mapped_file.h"
#include "base/problem_list.h"
#include "base/python_json.h"
#include "base/status_macros.h"
#include "base/strings.h"
#include "server/model/config_fields.h"
#include "server/model/model_family.h"

namespace shira {
namespace {

constexpr uint64_t kMaxConfigBytes = 1 << 20;

// Beyond any known model, and small enough that no product of two sizes overflows and no list of
// parameters exhausts the memory.
constexpr int64_t kMaxSize = 1 << 24;
constexpr int64_t kMaxCount = 1 << 12;  // heads, and numbers per head

absl::StatusOr<nlohmann::json> ReadJsonObject(const std::string& path) {
  SHIRA_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kMaxConfigBytes));
  nlohmann::json object = ParsePythonJson(text);
  if (!object.is_object()) {
    return absl::InvalidArgumentError(StrCat(path, ": not a JSON object"));
  }
  return object;
}

// The model's end-of-text ids, where DIR/generation_config.json says other ones than the model's
// own configuration. Where it says none, those of the configuration stay, and transformers has none
// then: an answer that ends is what people want of both.
absl::Status OverrideEosTokenIds(const std::string& path, std::vector<int32_t>& eos_token_ids) {
  absl::StatusOr<nlohmann::json> object = ReadJsonObject(path);
  if (absl::IsNotFound(object.status())) return absl::OkStatus();
  if (!object.ok()) return object.status();
  ConfigProblems problems;
  const ConfigFields fields(*std::move(object), /*prefix=*/"", &problems);
  if (fields.Has("eos_token_id")) eos_token_ids = fields.TokenIds("eos_token_id");
  return problems.ToStatus(path);
}

// The status of `status`, with the file's name before its message.
absl::Status In(const std::string& source, const absl::Status& status) {
  return status.ok() ? status : absl::Status(status.code(), StrCat(source, ": ", status.message()));
}

}  // namespace

std::vector<TensorSpec> ModelConfig::Tensors() const { return family->tensors(*this); }

absl::Status ModelConfig::LimitContext(int64_t positions) {
  if (positions <= 0 || positions > max_position) {
    return absl::InvalidArgumentError(
        StrCat("context length: the model has ", max_position, " positions, found ", positions));
  }
  max_position = positions;
  for (Rope& rope : ropes) rope.scaling.ChooseFactors(positions);
  return absl::OkStatus();
}

absl::Status ModelConfig::Validate() const {
  ProblemList problems;
  const auto check_size = [&](std::string_view name, int64_t value, int64_t limit) {
    if (value <= 0 || value > limit) {
      problems.Add(name, ": expected 1 to ", limit, ", found ", value);
    }
  };
  const auto check_positive = [&](std::string_view name, double value) {
    if (!std::isfinite(value) || value <= 0) {
      problems.Add(name, ": expected a positive number, found ", value);
    }
  };
  const auto check_factors = [&](std::string_view name, const std::vector<double>& factors,
                                 int64_t rotary_dim) {
    if (static_cast<int64_t>(factors.size()) != rotary_dim / 2) {
      problems.Add(name, ": expected ", rotary_dim / 2, " numbers, found ", factors.size());
    }
    for (const double factor : factors) check_positive(name, factor);
  };
  const auto check_scaling = [&](const Rope& rope) {
    using Kind = RopeScaling::Kind;
    const RopeScaling& scaling = rope.scaling;
    if (scaling.kind == Kind::kNone) return;
    check_positive("rope factor", scaling.factor);
    check_positive("attention_factor", scaling.attention_factor);
    if (scaling.kind == Kind::kLinear) return;
    check_size("original_max_position", scaling.original_max_position, INT32_MAX);
    if (scaling.kind == Kind::kLlama3) {
      check_positive("low_freq_factor", scaling.low_freq_factor);
      check_positive("high_freq_factor", scaling.high_freq_factor);
      if (scaling.low_freq_factor >= scaling.high_freq_factor) {
        problems.Add("low_freq_factor: expected less than high_freq_factor, ",
                     scaling.high_freq_factor, ", found ", scaling.low_freq_factor);
      }
    } else if (scaling.kind == Kind::kYarn) {
      check_positive("beta_fast", scaling.beta_fast);
      check_positive("beta_slow", scaling.beta_slow);
      if (rope.theta <= 1.0) problems.Add("rope_theta: yarn expects more than 1");
    } else if (scaling.kind == Kind::kLongRope) {
      check_factors("short_factor", scaling.short_factors, rope.rotary_dim_of(head_dim));
      check_factors("long_factor", scaling.long_factors, rope.rotary_dim_of(head_dim));
    }
  };
  if (family == nullptr) problems.Add("family: none");
  check_size("hidden_size", hidden_size, kMaxSize);
  check_size("num_layers", num_layers, kMaxLayers);
  check_size("num_heads", num_heads, kMaxCount);
  check_size("num_kv_heads", num_kv_heads, kMaxCount);
  check_size("head_dim", head_dim, kMaxCount);
  check_size("intermediate_size", intermediate_size, kMaxSize);
  check_size("vocab_size", vocab_size, kMaxSize);
  if (mixture.experts != 0) {
    check_size("number of experts", mixture.experts, kMaxCount);
    check_size("experts per token", mixture.experts_per_token, mixture.experts);
    check_size("an expert's intermediate_size", mixture.intermediate_size, kMaxSize);
    check_size("experts of all layers", mixture.experts * num_layers, kMaxExperts);
  }
  check_size("max_position", max_position, INT32_MAX);
  if (num_kv_heads > 0 && num_heads % num_kv_heads != 0) {
    problems.Add("num_kv_heads: ", num_kv_heads, " does not divide num_heads, ", num_heads);
  }
  check_positive("norm_eps", norm_eps);
  check_positive("embedding scale", embedding_scale.factor);
  check_positive("residual scale", residual_scale);
  check_positive("logit divisor", logit_divisor);
  const auto check_optional = [&](std::string_view name, double value) {
    if (value != 0) check_positive(name, value);
  };
  check_optional("attention scale", attention_scale);
  check_optional("attention softcap", attention_softcap);
  check_optional("logit softcap", logit_softcap);
  if (clamped_gate) {
    check_positive("slope of the gate", clamped_gate->slope);
    check_positive("limit of the gate", clamped_gate->limit);
  }
  if (query_key_value_rows == QueryKeyValueRows::kByHead && num_kv_heads != num_heads) {
    problems.Add("num_kv_heads: expected as many as num_heads, ", num_heads, ", found ",
                 num_kv_heads);
  }
  for (const Rope& rope : ropes) {
    check_positive("rope_theta", rope.theta);
    check_scaling(rope);
    if (!std::isfinite(rope.query_scale_beta)) problems.Add("query_scale_beta: not finite");
    if (rope.query_scale_beta != 0.0) {
      check_size("original_max_position", rope.scaling.original_max_position, INT32_MAX);
    }
    const int64_t rotary_dim = rope.rotary_dim_of(head_dim);
    if (rotary_dim % 2 != 0) {
      problems.Add("head_dim: rotary positions need an even one, found ", rotary_dim);
    }
    if (rotary_dim < 0 || rotary_dim > head_dim) {
      problems.Add("rotary_dim: expected 1 to ", head_dim, ", found ", rotary_dim);
    }
  }
  if (num_layers <= kMaxLayers && static_cast<int64_t>(layers.size()) != num_layers) {
    problems.Add("layers: expected ", num_layers, ", found ", layers.size());
  }
  for (const LayerSpec& layer : layers) {
    if (layer.window < 0) problems.Add("sliding window: expected none or more than 0 positions");
    if (layer.rope < 0 || layer.rope >= static_cast<int64_t>(ropes.size())) {
      problems.Add("rope of a layer: expected less than ", ropes.size(), ", found ", layer.rope);
    }
    if (layer.mlp == MlpKind::kMixture && mixture.experts == 0) {
      problems.Add("mixture of a layer: expected experts, found none");
    }
  }
  for (const int32_t id : eos_token_ids) {
    if (id < 0 || id >= vocab_size) {
      problems.Add("eos_token_id: ", id, " is outside of the vocabulary of ", vocab_size);
    }
  }
  return problems.ToStatus(absl::StatusCode::kInvalidArgument, "model configuration");
}

absl::StatusOr<ModelConfig> ReadHuggingFaceConfig(const std::string& folder) {
  const std::filesystem::path base(folder);
  const std::string path = base / "config.json";
  SHIRA_ASSIGN_OR_RETURN(nlohmann::json object, ReadJsonObject(path));

  ConfigProblems problems;
  const ConfigFields fields(std::move(object), /*prefix=*/"", &problems);
  const std::string model_type = fields.String("model_type", "");
  SHIRA_ASSIGN_OR_RETURN(const ModelFamily* family, FindFamilyByModelType(model_type, path));
  ModelConfig config = family->from_json(fields);
  config.architecture = model_type;
  config.family = family;
  SHIRA_RETURN_IF_ERROR(problems.ToStatus(path));
  SHIRA_RETURN_IF_ERROR(OverrideEosTokenIds(base / "generation_config.json", config.eos_token_ids));
  SHIRA_RETURN_IF_ERROR(In(path, config.Validate()));
  return config;
}

absl::StatusOr<ModelConfig> ReadGgufConfig(const GgufFile& gguf) {
  SHIRA_ASSIGN_OR_RETURN(const std::string architecture, gguf.GetString("general.architecture"));
  SHIRA_ASSIGN_OR_RETURN(const ModelFamily* family,
                         FindFamilyByGgufArchitecture(architecture, gguf.source()));
  ConfigProblems problems;
  ModelConfig config = family->from_gguf(gguf, &problems);
  config.architecture = architecture;
  if (config.family == nullptr) config.family = family;
  SHIRA_RETURN_IF_ERROR(problems.ToStatus(gguf.source()));
  SHIRA_RETURN_IF_ERROR(In(gguf.source(), config.Validate()));
  return config;
}

}  // namespace shira
