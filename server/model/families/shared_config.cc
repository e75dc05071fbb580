#include "server/model/families/shared_config.h"

#include <algorithm>
#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "base/strings.h"
#include "server/model/families/shared_tensors.h"

namespace shira {
namespace {

// A head's width where the file does not say it.
int64_t DefaultHeadDim(int64_t hidden_size, int64_t num_heads) {
  return num_heads > 0 && hidden_size % num_heads == 0 ? hidden_size / num_heads : 0;
}

// The names that transformers gives to the activations that there are. Those of one kind differ in how
// they round.
constexpr struct {
  std::string_view name;
  Activation activation;
} kActivations[] = {
    {"silu", Activation::kSilu},         {"swish", Activation::kSilu},
    {"gelu", Activation::kGelu},         {"gelu_pytorch_tanh", Activation::kGeluTanh},
    {"gelu_new", Activation::kGeluTanh}, {"gelu_fast", Activation::kGeluTanh}};

Activation ActivationFromJson(const ConfigFields& fields, const JsonDefaults& defaults) {
  if (!fields.Has(defaults.activation_key)) return defaults.activation;
  const std::string name = fields.String(defaults.activation_key, "");
  std::string known;
  for (const auto& entry : kActivations) {
    if (entry.name == name) return entry.activation;
    StrAppend(&known, known.empty() ? "" : ", ", entry.name);
  }
  fields.Unsupported(defaults.activation_key, "'", name, "'; known are ", known);
  return defaults.activation;
}

// As many layers of LayerSpec's default as the configuration says, where it can be true.
void SetLayers(ModelConfig& config) {
  config.layers.resize(std::clamp<int64_t>(config.num_layers, 0, kMaxLayers));
}

// A number that some converters write once for each layer.
int64_t OneForAllLayers(const ConfigFields& fields, const char* key, int64_t absent) {
  if (!fields.IsList(key)) return fields.Int(key, absent);
  const std::vector<int64_t> numbers = fields.Ints(key);
  for (const int64_t number : numbers) {
    if (number == numbers.front()) continue;
    fields.Unsupported(key, "layers of which one has ", numbers.front(), " and another ", number,
                       "; only one number for all is known");
    break;
  }
  return numbers.empty() ? absent : numbers.front();
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

// Settings that some converters write under the architecture's name and that change what the model
// computes.
constexpr std::array<const char*, 14> kUnknownGgufSettings = {"expert_count",
                                                              "expert_group_count",
                                                              "expert_shared_count",
                                                              "expert_weights_scale",
                                                              "leading_dense_block_count",
                                                              "attention.scale",
                                                              "attention.clamp_kqv",
                                                              "attention.sliding_window",
                                                              "attention.max_alibi_bias",
                                                              "attn_logit_softcapping",
                                                              "final_logit_softcapping",
                                                              "logit_scale",
                                                              "residual_scale",
                                                              "embedding_scale"};

}  // namespace

ModelConfig SharedFromJson(const ConfigFields& fields, const JsonDefaults& defaults) {
  ModelConfig config;
  config.hidden_size = fields.Int("hidden_size");
  config.num_layers = fields.Int("num_hidden_layers");
  config.num_heads = fields.Int("num_attention_heads");
  config.num_kv_heads = defaults.kv_heads_as_heads
                            ? fields.Int("num_key_value_heads", config.num_heads)
                            : fields.Int("num_key_value_heads");
  config.head_dim = fields.Int(
      "head_dim", defaults.head_dim > 0 ? defaults.head_dim
                                        : DefaultHeadDim(config.hidden_size, config.num_heads));
  config.intermediate_size = fields.Int(defaults.intermediate_size_key);
  config.vocab_size = fields.Int("vocab_size");
  config.max_position = fields.Int("max_position_embeddings", defaults.max_position);
  config.norm_eps = fields.Float(defaults.norm_eps_key, defaults.norm_eps);
  config.activation = ActivationFromJson(fields, defaults);
  config.tie_word_embeddings = fields.Bool("tie_word_embeddings", defaults.tie_word_embeddings);
  config.eos_token_ids = fields.TokenIds("eos_token_id");
  SetLayers(config);

  // Newer files have everything in rope_parameters, older ones rope_theta apart and the rest in
  // rope_scaling.
  if (!defaults.ropes_by_layer_type) {
    std::optional<ConfigFields> rope = fields.Object("rope_scaling");
    if (!rope) rope = fields.Object("rope_parameters");
    for (const char* kind : {"full_attention", "sliding_attention"}) {
      if (rope && rope->Has(kind)) {
        rope->Unsupported(kind, "only one kind of rotary positions is known");
      }
    }
    config.ropes = {
        RopeFromJson(rope, fields, config.head_dim, config.max_position, defaults.rope)};
  }

  if (const std::optional<ConfigFields> quantisation = fields.Object("quantization_config")) {
    const std::string method = quantisation->String("quant_method", "");
    if (defaults.quantisation.empty() || method != defaults.quantisation) {
      fields.Unsupported("quantization_config",
                         "folders quantised like this cannot be loaded; use the full weights or a "
                         "GGUF file",
                         defaults.quantisation.empty() ? "" : ", or quant_method ",
                         defaults.quantisation);
    }
  }
  return config;
}

ConfigFields GgufFieldsUnder(const GgufFile& gguf, std::string prefix, ConfigProblems* problems) {
  nlohmann::json object = nlohmann::json::object();
  for (const auto& [key, value] : gguf.metadata()) {
    if (key.compare(0, prefix.size(), prefix) != 0) continue;
    std::visit(
        [&, suffix = key.substr(prefix.size())](const auto& held) {
          using Held = std::decay_t<decltype(held)>;
          if constexpr (std::is_arithmetic_v<Held> || std::is_same_v<Held, std::string> ||
                        std::is_same_v<Held, std::vector<int64_t>>) {
            object[suffix] = held;
          } else {
            object[suffix] = nlohmann::json::array();  // wrong for every key that is read below
          }
        },
        value);
  }
  return ConfigFields(std::move(object), std::move(prefix), problems);
}

ModelConfig SharedFromGguf(const GgufFile& gguf, const ConfigFields& fields,
                           const GgufOptions& options, ConfigProblems* problems) {
  const auto& tensors = gguf.tensors();
  ModelConfig config;
  config.hidden_size = fields.Int("embedding_length");
  config.num_layers = fields.Int("block_count");
  config.num_heads = fields.Int("attention.head_count");
  config.num_kv_heads = OneForAllLayers(fields, "attention.head_count_kv", config.num_heads);
  config.head_dim =
      fields.Int("attention.key_length", DefaultHeadDim(config.hidden_size, config.num_heads));
  config.intermediate_size = fields.Int("feed_forward_length");
  config.max_position = fields.Int("context_length");
  config.norm_eps = fields.Float(options.norm_eps_key);
  config.ropes = {RopeFromGguf(gguf, fields, config.head_dim, config.max_position, options.rope)};
  config.tie_word_embeddings = tensors.count(std::string(kGgufOutput)) == 0;
  SetLayers(config);

  // The table of embeddings may be longer than the vocabulary, so its own length counts.
  const auto embeddings = tensors.find(std::string(kGgufEmbedding));
  config.vocab_size = embeddings != tensors.end() && embeddings->second.shape.size() == 2
                          ? embeddings->second.shape[0]
                          : fields.Int("vocab_size");
  // End of text, and end of turn where the file tells them apart.
  for (const char* key : {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id"}) {
    AddTokenId(gguf, key, config.eos_token_ids, problems);
  }

  constexpr const char* kValueWidth = "attention.value_length";
  if (const int64_t size = fields.Int(kValueWidth, config.head_dim); size != config.head_dim) {
    fields.Unsupported(kValueWidth, size, "; only the width of a head, ", config.head_dim,
                       ", is known");
  }
  for (const char* key : kUnknownGgufSettings) {
    const auto& known = options.known_settings;
    if (std::find(known.begin(), known.end(), key) != known.end()) continue;
    if (fields.Float(key, 0.0) != 0.0) fields.Unsupported(key, "not known to this program");
  }
  return config;
}

ModelConfig LayerNormFromGguf(const GgufFile& gguf, std::string prefix, const RopeRules& rope,
                              ConfigProblems* problems) {
  ModelConfig config =
      SharedFromGguf(gguf, GgufFieldsUnder(gguf, std::move(prefix), problems),
                     {.norm_eps_key = "attention.layer_norm_epsilon", .rope = rope}, problems);
  config.norm = NormKind::kLayer;
  return config;
}

void SetWindow(const ConfigFields& fields, const char* key, ModelConfig& config, int64_t absent) {
  const int64_t window = fields.Int(key, absent);
  if (window <= 0) fields.Wrong(key, "expected more than 0 positions, found ", window);
  for (LayerSpec& layer : config.layers) layer.window = window;
}

}  // namespace shira
