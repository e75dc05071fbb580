#include "server/model/families/llama.h"

#include <cmath>
#include <cstring>
#include <numbers>
#include <optional>
#include <string>
#include <vector>

#include "server/model/families/mixtral.h"
#include "server/model/families/mixture.h"
#include "server/model/families/shared_config.h"
#include "server/model/families/shared_tensors.h"

namespace shira {
namespace {

// How many times slower Llama 3's rule makes one frequency, where the plain rule gives
// `inverse_frequency`.
double Llama3Slowdown(const RopeScaling& scaling, double inverse_frequency) {
  const double turns = static_cast<double>(scaling.original_max_position) * inverse_frequency /
                       (2 * std::numbers::pi);
  if (turns > scaling.high_freq_factor) return 1.0;
  if (turns < scaling.low_freq_factor) return scaling.factor;
  const double smooth =
      (turns - scaling.low_freq_factor) / (scaling.high_freq_factor - scaling.low_freq_factor);
  return 1.0 / ((1.0 - smooth) / scaling.factor + smooth);
}

// kGgufRotaryFactors divide each frequency; converters write what Llama 3's rule gives. The rule's
// factor is the slowdown of the last, slowest frequency, the other constants are the same in all of
// Meta's models; nullopt when they do not give the tensor.
std::optional<RopeScaling> Llama3ScalingOf(const GgufTensor& slowdowns, const ModelConfig& config) {
  const int64_t count = config.head_dim / 2;
  if (slowdowns.type != GgmlType::kF32 || slowdowns.shape != std::vector<int64_t>{count} ||
      count == 0) {
    return std::nullopt;
  }
  const auto slowdown = [&](int64_t i) {
    float value;
    std::memcpy(&value, slowdowns.data.data() + i * static_cast<int64_t>(sizeof(float)),
                sizeof(float));
    return static_cast<double>(value);
  };
  RopeScaling scaling{.kind = RopeScaling::Kind::kLlama3,
                      .factor = slowdown(count - 1),
                      .low_freq_factor = 1.0,
                      .high_freq_factor = 4.0,
                      .original_max_position = 8192};
  for (int64_t i = 0; i < count; ++i) {
    const double inverse_frequency =
        std::pow(config.ropes.front().theta, -2.0 * static_cast<double>(i) / config.head_dim);
    const double expected = Llama3Slowdown(scaling, inverse_frequency);
    // Converters compute in float32. Written so that a NaN differs.
    if (!(std::abs(slowdown(i) - expected) <= 1e-4 * expected)) return std::nullopt;
  }
  return scaling;
}

ModelConfig FromJson(const ConfigFields& fields) {
  ModelConfig config = SharedFromJson(fields, {.kv_heads_as_heads = true});
  config.attention_bias = fields.Bool("attention_bias", false);
  config.mlp_bias = fields.Bool("mlp_bias", false);
  return config;
}

ModelConfig FromGguf(const GgufFile& gguf, ConfigProblems* problems) {
  const ConfigFields fields = GgufFieldsUnder(gguf, "llama.", problems);
  ModelConfig config = SharedFromGguf(
      gguf, fields, {.known_settings = {kGgufMixtureSettings.begin(), kGgufMixtureSettings.end()}},
      problems);
  const auto& tensors = gguf.tensors();
  config.attention_bias = HasGgufAttentionBias(gguf);
  config.mlp_bias = HasGgufMlpBias(gguf);
  if (const auto found = tensors.find(std::string(kGgufRotaryFactors)); found != tensors.end()) {
    if (const auto scaling = Llama3ScalingOf(found->second, config)) {
      config.ropes.front().scaling = *scaling;
    } else {
      problems->unsupported.Add(std::string(kGgufRotaryFactors),
                                ": its factors are not those of Llama 3");
    }
  }
  if (fields.Int("expert_count", 0) != 0) {
    config.family = &kMixtralFamily;
    config.mixture = MixtureFromGguf(fields, config.intermediate_size);
    SetMixtures(config);
  }
  return config;
}

}  // namespace

const ModelFamily kLlamaFamily = {.model_type = "llama",
                                  .gguf_architecture = "llama",
                                  .from_json = &FromJson,
                                  .from_gguf = &FromGguf,
                                  .tensors = &LlamaTensors,
                                  .gguf_settings_tensors = {kGgufRotaryFactors}};

}  // namespace shira
