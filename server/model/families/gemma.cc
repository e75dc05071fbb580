#include "server/model/families/gemma.h"

#include <cmath>
#include <vector>

#include "server/model/families/layer_types.h"
#include "server/model/families/shared_config.h"
#include "server/model/families/shared_tensors.h"

namespace shira {
namespace {

// Each layer that sees everything, counted from the first.
constexpr int64_t kGemma2Interval = 2;
constexpr int64_t kGemma3Interval = 6;
constexpr double kSlidingTheta = 10000.0;
constexpr RopeRules kFullRope3 = {.theta = 1e6};

// What all of them do that others do not.
void SetArithmetic(ModelConfig& config) {
  config.norm = NormKind::kRmsPlusOne;
  config.embedding_scale = {.factor = std::sqrt(static_cast<double>(config.hidden_size)),
                            .rounded = true};
}

// What is there as null is none.
double OptionalFloat(const ConfigFields& fields, const char* key, double absent) {
  return fields.IsNull(key) ? 0.0 : fields.Float(key, absent);
}

ModelConfig GemmaFromJson(const ConfigFields& fields, JsonDefaults defaults, int64_t interval) {
  defaults.tie_word_embeddings = true;
  defaults.head_dim = 256;
  defaults.activation = Activation::kGeluTanh;
  defaults.activation_key = "hidden_activation";
  ModelConfig config = SharedFromJson(fields, defaults);
  SetArithmetic(config);
  config.attention_bias = fields.Bool("attention_bias", false);
  const double scalar = fields.Float("query_pre_attn_scalar", 256.0);
  if (scalar <= 0) {
    fields.Wrong("query_pre_attn_scalar", "expected a positive number, found ", scalar);
  }
  config.attention_scale = 1.0 / std::sqrt(scalar);
  if (fields.Bool("use_bidirectional_attention", false)) {
    fields.Unsupported("use_bidirectional_attention", "attention is causal");
  }
  ReadWindowsBetween(fields, /*absent=*/4096, interval, config);
  return config;
}

ModelConfig Gemma2FromJson(const ConfigFields& fields) {
  ModelConfig config = GemmaFromJson(fields, {.max_position = 8192}, kGemma2Interval);
  config.attention_softcap = OptionalFloat(fields, "attn_logit_softcapping", 50.0);
  config.logit_softcap = OptionalFloat(fields, "final_logit_softcapping", 30.0);
  return config;
}

ModelConfig Gemma3FromJson(const ConfigFields& fields) {
  int64_t interval = fields.Int("sliding_window_pattern", kGemma3Interval);
  if (interval <= 0) {
    fields.Wrong("sliding_window_pattern", "expected more than 0 layers, found ", interval);
    interval = kGemma3Interval;
  }
  ModelConfig config =
      GemmaFromJson(fields, {.max_position = 131072, .ropes_by_layer_type = true}, interval);
  config.logit_softcap = OptionalFloat(fields, "final_logit_softcapping", 0.0);
  if (OptionalFloat(fields, "attn_logit_softcapping", 0.0) != 0.0) {
    fields.Unsupported("attn_logit_softcapping",
                       "scores are not capped in what is known of Gemma 3");
  }
  ReadRopesByLayerType(fields, kFullRope3, fields.Float("rope_local_base_freq", kSlidingTheta),
                       config);
  return config;
}

ModelConfig GemmaFromGguf(const GgufFile& gguf, const ConfigFields& fields,
                          ConfigProblems* problems) {
  ModelConfig config =
      SharedFromGguf(gguf, fields,
                     {.known_settings = {"attention.sliding_window", "attn_logit_softcapping",
                                         "final_logit_softcapping"}},
                     problems);
  SetArithmetic(config);
  config.activation = Activation::kGeluTanh;
  config.attention_bias = HasGgufAttentionBias(gguf);
  return config;
}

// llama.cpp knows by the number of layers which models scale scores by the share of a head in the
// hidden state instead of by the width of a head.
double GgufAttentionScale(const ModelConfig& config, int64_t layers_of_largest) {
  if (config.num_layers != layers_of_largest || config.num_heads <= 0) return 0.0;
  const int64_t share = config.hidden_size / config.num_heads;
  return 1.0 / std::sqrt(static_cast<double>(share));
}

ModelConfig Gemma2FromGguf(const GgufFile& gguf, ConfigProblems* problems) {
  const ConfigFields fields = GgufFieldsUnder(gguf, "gemma2.", problems);
  ModelConfig config = GemmaFromGguf(gguf, fields, problems);
  config.attention_softcap = fields.Float("attn_logit_softcapping", 50.0);
  config.logit_softcap = fields.Float("final_logit_softcapping", 30.0);
  config.attention_scale = GgufAttentionScale(config, 46);
  SetWindowBetween(fields.Int("attention.sliding_window", 4096), kGemma2Interval, config);
  return config;
}

ModelConfig Gemma3FromGguf(const GgufFile& gguf, ConfigProblems* problems) {
  const ConfigFields fields = GgufFieldsUnder(gguf, "gemma3.", problems);
  ModelConfig config = GemmaFromGguf(gguf, fields, problems);
  config.logit_softcap = fields.Float("final_logit_softcapping", 0.0);
  if (fields.Float("attn_logit_softcapping", 0.0) != 0.0) {
    fields.Unsupported("attn_logit_softcapping",
                       "scores are not capped in what is known of Gemma 3");
  }
  config.attention_scale = GgufAttentionScale(config, 62);
  SetWindowBetween(fields.Int("attention.sliding_window", 0), kGemma3Interval, config);
  SetRopesByLayerType(config.ropes.front(),
                      {.theta = fields.Float("rope.freq_base_swa", kSlidingTheta)}, config);
  return config;
}

std::vector<TensorSpec> TensorsOf(const ModelConfig& config, bool query_key_norms) {
  return SharedTensors(config, {.norms = SharedNorms::kAround,
                                .gguf_norm_offset = 1.0f,
                                .query_key_value_bias = config.attention_bias,
                                .attention_output_bias = config.attention_bias,
                                .query_key_norms = query_key_norms});
}

std::vector<TensorSpec> Gemma2Tensors(const ModelConfig& config) {
  return TensorsOf(config, /*query_key_norms=*/false);
}

std::vector<TensorSpec> Gemma3Tensors(const ModelConfig& config) {
  return TensorsOf(config, /*query_key_norms=*/true);
}

}  // namespace

const ModelFamily kGemma2Family = {.model_type = "gemma2",
                                   .gguf_architecture = "gemma2",
                                   .from_json = &Gemma2FromJson,
                                   .from_gguf = &Gemma2FromGguf,
                                   .tensors = &Gemma2Tensors};

const ModelFamily kGemma3Family = {.model_type = "gemma3_text",
                                   .gguf_architecture = "gemma3",
                                   .from_json = &Gemma3FromJson,
                                   .from_gguf = &Gemma3FromGguf,
                                   .tensors = &Gemma3Tensors};

}  // namespace shira
