#include "server/model/llama_config.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <numbers>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace shira {
namespace {

// A head's width where the file does not say it.
int64_t DefaultHeadDim(int64_t hidden_size, int64_t num_heads) {
  return num_heads > 0 && hidden_size % num_heads == 0 ? hidden_size / num_heads : 0;
}

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
  if (rope.Float("partial_rotary_factor", 1.0) != 1.0) {
    rope.Unsupported("partial_rotary_factor", "only 1 is known");
  }
  return scaling;
}

// The scalar metadata whose keys begin with `prefix`.
ConfigFields FieldsUnder(const GgufFile& gguf, std::string prefix, ConfigProblems* problems) {
  nlohmann::json object = nlohmann::json::object();
  for (const auto& [key, value] : gguf.metadata()) {
    if (key.compare(0, prefix.size(), prefix) != 0) continue;
    std::visit(
        [&, suffix = key.substr(prefix.size())](const auto& held) {
          using Held = std::decay_t<decltype(held)>;
          if constexpr (std::is_arithmetic_v<Held> || std::is_same_v<Held, std::string>) {
            object[suffix] = held;
          } else {
            object[suffix] = nlohmann::json::array();  // wrong for every key that is read below
          }
        },
        value);
  }
  return ConfigFields(std::move(object), std::move(prefix), problems);
}

// Adds the id under `key`, if there is one that is not among `ids`.
void AddTokenId(const GgufFile& gguf, const char* key, std::vector<int32_t>& ids,
                ConfigProblems* problems) {
  const absl::StatusOr<std::optional<int64_t>> id = gguf.GetTokenId(key);
  if (!id.ok() || (id->has_value() && !std::in_range<int32_t>(**id))) {
    problems->malformed.Add(key, ": expected a token id, found ",
                            id.ok() ? std::to_string(**id) : "another type");
  } else if (id->has_value() && std::count(ids.begin(), ids.end(), **id) == 0) {
    ids.push_back(static_cast<int32_t>(**id));
  }
}

RopeScaling RopeScalingFromGguf(const ConfigFields& llama) {
  RopeScaling scaling;
  // Older files have the factor alone.
  const double factor = llama.Float("rope.scaling.factor", llama.Float("rope.scale_linear", 1.0));
  const std::string type = llama.String("rope.scaling.type", factor == 1.0 ? "none" : "linear");
  if (type == "linear") {
    scaling.kind = RopeScaling::Kind::kLinear;
    scaling.factor = factor;
  } else if (type != "none") {
    llama.Unsupported("rope.scaling.type", "'", type, "'; known are none and linear");
  }
  return scaling;
}

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

// rope_freqs.weight divides each frequency; converters write what Llama 3's rule gives. The rule's
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
        std::pow(config.rope_theta, -2.0 * static_cast<double>(i) / config.head_dim);
    const double expected = Llama3Slowdown(scaling, inverse_frequency);
    // Converters compute in float32. Written so that a NaN differs.
    if (!(std::abs(slowdown(i) - expected) <= 1e-4 * expected)) return std::nullopt;
  }
  return scaling;
}

// Settings that some converters write under llama.* and that change what the model computes.
constexpr std::array kUnknownGgufSettings = {"expert_count",
                                             "attention.scale",
                                             "attention.clamp_kqv",
                                             "attention.sliding_window",
                                             "attention.max_alibi_bias",
                                             "logit_scale",
                                             "residual_scale",
                                             "embedding_scale"};

}  // namespace

ModelConfig LlamaFromJson(const ConfigFields& fields) {
  ModelConfig config;
  config.hidden_size = fields.Int("hidden_size");
  config.num_layers = fields.Int("num_hidden_layers");
  config.num_heads = fields.Int("num_attention_heads");
  config.num_kv_heads = fields.Int("num_key_value_heads", config.num_heads);
  config.head_dim = fields.Int("head_dim", DefaultHeadDim(config.hidden_size, config.num_heads));
  config.intermediate_size = fields.Int("intermediate_size");
  config.vocab_size = fields.Int("vocab_size");
  config.max_position = fields.Int("max_position_embeddings", 2048);
  config.rms_norm_eps = fields.Float("rms_norm_eps", 1e-6);
  config.tie_word_embeddings = fields.Bool("tie_word_embeddings", false);
  config.attention_bias = fields.Bool("attention_bias", false);
  config.mlp_bias = fields.Bool("mlp_bias", false);
  config.eos_token_ids = fields.TokenIds("eos_token_id");

  // Newer files have everything in rope_parameters, older ones rope_theta apart and the rest in
  // rope_scaling.
  config.rope_theta = fields.Float("rope_theta", 10000.0);
  std::optional<ConfigFields> rope = fields.Object("rope_scaling");
  if (!rope) rope = fields.Object("rope_parameters");
  if (rope) {
    config.rope_theta = rope->Float("rope_theta", config.rope_theta);
    config.rope_scaling = RopeScalingFromJson(*rope, fields, config.max_position);
  }

  if (const std::string act = fields.String("hidden_act", "silu"); act != "silu") {
    fields.Unsupported("hidden_act", "'", act, "'; only silu is known");
  }
  if (fields.Float("partial_rotary_factor", 1.0) != 1.0) {
    fields.Unsupported("partial_rotary_factor", "only 1 is known");
  }
  if (fields.Has("quantization_config")) {
    fields.Unsupported("quantization_config",
                       "quantised folders cannot be loaded; use the full weights or a GGUF file");
  }
  return config;
}

ModelConfig LlamaFromGguf(const GgufFile& gguf, ConfigProblems* problems) {
  const ConfigFields llama = FieldsUnder(gguf, "llama.", problems);
  const auto& tensors = gguf.tensors();

  ModelConfig config;
  config.hidden_size = llama.Int("embedding_length");
  config.num_layers = llama.Int("block_count");
  config.num_heads = llama.Int("attention.head_count");
  config.num_kv_heads = llama.Int("attention.head_count_kv", config.num_heads);
  config.head_dim =
      llama.Int("attention.key_length", DefaultHeadDim(config.hidden_size, config.num_heads));
  config.intermediate_size = llama.Int("feed_forward_length");
  config.max_position = llama.Int("context_length");
  config.rms_norm_eps = llama.Float("attention.layer_norm_rms_epsilon");
  config.rope_theta = llama.Float("rope.freq_base", 10000.0);
  config.rope_scaling = RopeScalingFromGguf(llama);
  config.tie_word_embeddings = tensors.count("output.weight") == 0;
  config.attention_bias = tensors.count("blk.0.attn_q.bias") != 0;
  config.mlp_bias = tensors.count("blk.0.ffn_gate.bias") != 0;

  // The table of embeddings may be longer than the vocabulary, so its own length counts.
  const auto embeddings = tensors.find("token_embd.weight");
  config.vocab_size = embeddings != tensors.end() && embeddings->second.shape.size() == 2
                          ? embeddings->second.shape[0]
                          : llama.Int("vocab_size");
  // End of text, and end of turn where the file tells them apart.
  for (const char* key : {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id"}) {
    AddTokenId(gguf, key, config.eos_token_ids, problems);
  }

  for (const char* key : {"attention.value_length", "rope.dimension_count"}) {
    if (const int64_t size = llama.Int(key, config.head_dim); size != config.head_dim) {
      llama.Unsupported(key, size, "; only the width of a head, ", config.head_dim, ", is known");
    }
  }
  for (const char* key : kUnknownGgufSettings) {
    if (llama.Float(key, 0.0) != 0.0) llama.Unsupported(key, "not known to this program");
  }
  if (const auto found = tensors.find("rope_freqs.weight"); found != tensors.end()) {
    if (const auto scaling = Llama3ScalingOf(found->second, config)) {
      config.rope_scaling = *scaling;
    } else {
      problems->unsupported.Add("rope_freqs.weight: its factors are not those of Llama 3");
    }
  }
  return config;
}

}  // namespace shira
