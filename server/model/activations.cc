#include "server/model/activations.h"

#include <algorithm>
#include <new>

#include "server/model/kernels/linear.h"

namespace shira {
namespace {

constexpr int64_t kAlignment = 64;

int64_t QkvFloats(const ModelConfig& config, int64_t tokens) {
  return tokens * (config.num_heads + 2 * config.num_kv_heads) * config.head_dim;
}

// Elements of an MLP's activations for each token, in whatever kind of layer takes most.
int64_t MlpFloats(const ModelConfig& config) {
  int64_t most = 0;
  for (const LayerSpec& layer : config.layers) {
    most = std::max(most, layer.mlp == MlpKind::kMixture
                              ? config.mixture.experts_per_token * config.mixture.intermediate_size
                              : config.intermediate_size);
  }
  return most;
}

int64_t ScratchBytes(const ModelConfig& config, int64_t tokens) {
  return LinearScratchBytes(tokens,
                            std::max({config.hidden_size, config.num_heads * config.head_dim,
                                      config.intermediate_size, config.mixture.intermediate_size}));
}

}  // namespace

AlignedBuffer::AlignedBuffer(int64_t bytes)
    : memory_(static_cast<std::byte*>(
          std::aligned_alloc(kAlignment, (bytes + kAlignment - 1) / kAlignment * kAlignment))) {
  if (memory_ == nullptr) throw std::bad_alloc();
}

Activations::Activations(const ModelConfig& config, int64_t tokens)
    : tokens(tokens),
      hidden(Allocate(tokens * config.hidden_size)),
      normed(Allocate(tokens * config.hidden_size)),
      branch(Allocate(tokens * config.hidden_size)),
      qkv(Allocate(QkvFloats(config, tokens))),
      by_head(config.query_key_value_rows == QueryKeyValueRows::kByHead
                  ? Allocate(QkvFloats(config, tokens))
                  : nullptr),
      attended(Allocate(tokens * config.num_heads * config.head_dim)),
      gate_up(Allocate(tokens * (config.gated_mlp ? 2 : 1) * MlpFloats(config))),
      gated(Allocate(tokens * MlpFloats(config))),
      scores(config.mixture.experts > 0 ? Allocate(tokens * config.mixture.experts) : nullptr),
      expert_rows(config.mixture.experts > 0
                      ? Allocate(tokens * config.mixture.experts_per_token * config.hidden_size)
                      : nullptr),
      linear_scratch(buffers_.emplace_back(ScratchBytes(config, tokens)).bytes()) {}

float* Activations::Allocate(int64_t floats) {
  return buffers_.emplace_back(floats * static_cast<int64_t>(sizeof(float))).floats();
}

}  // namespace shira
