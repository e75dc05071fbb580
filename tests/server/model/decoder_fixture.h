// A tiny model of random weights, whose sizes fill no vector evenly, and sequences to run on it.

#ifndef SHIRA_TESTS_SERVER_MODEL_DECODER_FIXTURE_H_
#define SHIRA_TESTS_SERVER_MODEL_DECODER_FIXTURE_H_

#include <gtest/gtest.h>

#include <cstddef>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "base/thread_team.h"
#include "server/model/decoder.h"
#include "server/model/families/gemma.h"
#include "server/model/families/gpt_oss.h"
#include "server/model/families/llama.h"
#include "server/model/families/qwen3.h"
#include "server/model/families/qwen3_moe.h"
#include "server/model/families/stablelm.h"
#include "server/model/kv_cache.h"
#include "server/model/resident_weights.h"
#include "tests/testutil/plain_weights.h"

namespace shira {

inline ModelConfig TinyDecoderConfig(bool tied = true) {
  ModelConfig config;
  config.architecture = "llama";
  config.family = &kLlamaFamily;
  config.hidden_size = 44;
  config.num_layers = 2;
  config.layers.resize(2);
  config.num_heads = 6;
  config.num_kv_heads = 2;
  config.head_dim = 10;
  config.intermediate_size = 70;
  config.vocab_size = 301;
  config.max_position = 4096;
  config.attention_bias = true;
  config.mlp_bias = true;
  config.tie_word_embeddings = tied;
  return config;
}

// Norms of heads, a window that is shorter than the sequences, and no positions.
inline ModelConfig TinyMixedConfig(bool tied = true) {
  ModelConfig config = TinyDecoderConfig(tied);
  config.architecture = "qwen3";
  config.family = &kQwen3Family;
  config.num_layers = 3;
  config.layers = {{.window = 37}, {.positions = Positions::kNone}, {}};
  return config;
}

// Norms on both sides of attention and MLP, scores and logits that are capped, embeddings that are
// scaled, and positions that differ between layers.
inline ModelConfig TinyGemmaConfig(bool tied = true) {
  ModelConfig config = TinyDecoderConfig(tied);
  config.architecture = "gemma3_text";
  config.family = &kGemma3Family;
  config.num_layers = 3;
  config.ropes = {{.theta = 1e5}, {.theta = 100.0}};
  config.layers = {{.rope = 1, .window = 37}, {}, {.rope = 1, .window = 37}};
  config.norm = NormKind::kRmsPlusOne;
  config.activation = Activation::kGeluTanh;
  config.embedding_scale = {.factor = 6.6332, .rounded = true};
  config.attention_scale = 0.4;
  config.attention_softcap = 5.0;
  config.logit_softcap = 3.0;
  return config;
}

// Layer norms with biases, norms of each head of its own, attention and MLP beside each other, heads
// that are turned in part, branches and logits that are scaled.
inline ModelConfig TinyStableLmConfig(bool tied = true) {
  ModelConfig config = TinyDecoderConfig(tied);
  config.architecture = "stablelm";
  config.family = &kStableLmFamily;
  config.norm = NormKind::kLayer;
  config.head_norms = HeadNorms::kOwn;
  config.query_key_norms = true;
  config.activation = Activation::kGelu;
  config.parallel_residual = true;
  config.ropes[0].rotary_dim = 6;
  config.residual_scale = 0.6;
  config.logit_divisor = 3.0;
  return config;
}

// Mixtures of experts before and after a layer without one.
inline ModelConfig TinyMixtureConfig(bool tied = true) {
  ModelConfig config = TinyDecoderConfig(tied);
  config.architecture = "qwen3_moe";
  config.family = &kQwen3MoeFamily;
  config.num_layers = 3;
  config.layers = {{.mlp = MlpKind::kMixture}, {}, {.mlp = MlpKind::kMixture}};
  config.mixture = {.experts = 7, .experts_per_token = 3, .intermediate_size = 37};
  return config;
}

// Mixtures of experts whose gates are clamped, with biases of experts and routers, and sinks.
inline ModelConfig TinyGptOssConfig(bool tied = true) {
  ModelConfig config = TinyDecoderConfig(tied);
  config.architecture = "gpt_oss";
  config.family = &kGptOssFamily;
  config.num_layers = 3;
  config.layers = {{.window = 37, .mlp = MlpKind::kMixture},
                   {.mlp = MlpKind::kMixture},
                   {.window = 37, .mlp = MlpKind::kMixture}};
  config.mixture = {
      .experts = 5, .experts_per_token = 2, .intermediate_size = 37, .rounds_weights = true};
  config.norm = NormKind::kRmsFloat;
  config.clamped_gate = ClampedGate{.limit = 0.5};
  return config;
}

inline std::unique_ptr<ResidentWeights> RandomWeights(const ModelConfig& config, DType dtype) {
  std::unique_ptr<ResidentWeights> weights = ResidentWeights::Allocate(config, dtype).value();
  std::mt19937 random(3);
  std::normal_distribution<float> normal(0.0f, 0.3f);
  for (const ResidentParameter& parameter : weights->parameters()) {
    for (int64_t i = 0; i < parameter.elements(); ++i) {
      testing::StoreElement(dtype, normal(random), i, parameter.data);
    }
  }
  return weights;
}

// Sequence s's tokens: no two sequences are alike.
inline std::vector<int32_t> TokensOf(int64_t sequence, int64_t count) {
  std::mt19937 random(static_cast<uint32_t>(100 + sequence));
  std::vector<int32_t> tokens;
  for (int64_t i = 0; i < count; ++i) tokens.push_back(static_cast<int32_t>(random() % 301));
  return tokens;
}

inline std::shared_ptr<KvPagePool> MakePool(const ModelConfig& config, DType dtype) {
  const KvGeometry geometry =
      KvGeometryOf(GroupLayers(config), AttentionShapeOf(config, dtype), /*chunk_tokens=*/512);
  return KvPagePool::Create(geometry, int64_t{1} << 28).value();
}

using Logits = std::vector<float>;

inline std::vector<Logits> SplitLogits(absl::Span<const float> logits, int64_t vocab_size) {
  std::vector<Logits> rows;
  for (size_t at = 0; at < logits.size(); at += vocab_size) {
    const auto row = logits.subspan(at, vocab_size);
    rows.emplace_back(row.begin(), row.end());
  }
  return rows;
}

// What the decoder's tests run on.
struct TinyModel {
  struct Kind {
    const char* name;
    ModelConfig (*config)(bool tied);
  };

  DType dtype = DType::kF32;
  Kind kind = {"", &TinyDecoderConfig};
  bool tied = true;

  ModelConfig config() const { return kind.config(tied); }
};
inline constexpr TinyModel::Kind kTinyLlama = {"", &TinyDecoderConfig};
inline constexpr TinyModel::Kind kTinyMixed = {"Mixed", &TinyMixedConfig};
inline constexpr TinyModel::Kind kTinyGemma = {"Gemma", &TinyGemmaConfig};
inline constexpr TinyModel::Kind kTinyStableLm = {"StableLm", &TinyStableLmConfig};
inline constexpr TinyModel::Kind kTinyMixture = {"Mixture", &TinyMixtureConfig};
inline constexpr TinyModel::Kind kTinyGptOss = {"GptOss", &TinyGptOssConfig};

inline std::string TinyModelName(const ::testing::TestParamInfo<TinyModel>& info) {
  return std::string(DTypeName(info.param.dtype)) + info.param.kind.name +
         (info.param.tied ? "Tied" : "Untied");
}

}  // namespace shira

#endif  // SHIRA_TESTS_SERVER_MODEL_DECODER_FIXTURE_H_
