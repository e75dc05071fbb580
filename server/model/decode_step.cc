#include "server/model/decode_step.h"

#include <algorithm>
#include <array>
#include <cstddef>

#include "server/model/kernels/decode_layers.h"
#include "server/model/torch_parallel.h"

namespace shira {
namespace {

const void* Memory(const at::Tensor& tensor) {
  return tensor.defined() ? tensor.const_data_ptr() : nullptr;
}

LinearWeight Projection(DType dtype, const at::Tensor& weight, const at::Tensor& bias) {
  return {.data = Memory(weight),
          .bias = Memory(bias),
          .dtype = dtype,
          .out = weight.size(0),
          .in = weight.size(1)};
}

}  // namespace

DecodeStep::DecodeStep(const ModelConfig& config, const DecoderWeights& weights,
                       const RotaryEmbedding& rotary)
    : config_(config),
      dtype_(weights.dtype),
      attention_{.dtype = weights.dtype,
                 .num_heads = config.num_heads,
                 .num_kv_heads = config.num_kv_heads,
                 .head_dim = config.head_dim},
      parallel_for_(TorchParallelFor()),
      embedding_(Memory(weights.embedding)),
      final_norm_(Memory(weights.final_norm)),
      lm_head_(Projection(dtype_, weights.lm_head, {})),
      rotary_(rotary, ScalarTypeOf(weights.dtype)),
      workspace_(config, attention_) {
  for (const DecoderWeights::Layer& layer : weights.layers) {
    layers_.push_back({
        .input_norm = Memory(layer.input_norm),
        .qkv = Projection(dtype_, layer.qkv, layer.qkv_bias),
        .attention_out = Projection(dtype_, layer.attention_out, layer.out_bias),
        .post_norm = Memory(layer.post_norm),
        .gate_up = Projection(dtype_, layer.gate_up, layer.gate_up_bias),
        .down = Projection(dtype_, layer.down, layer.down_bias),
    });
  }
}

bool DecodeStep::Takes(absl::Span<const DecoderRow> rows) {
  return static_cast<int64_t>(rows.size()) <= kMaxDecodeRows &&
         std::all_of(rows.begin(), rows.end(),
                     [](const DecoderRow& row) { return row.tokens.size() == 1; });
}

at::Tensor DecodeStep::Run(absl::Span<const DecoderRow> rows) {
  const int64_t count = static_cast<int64_t>(rows.size());
  const int64_t width = config_.hidden_size;
  for (int64_t i = 0; i < count; ++i) {
    rotary_.Reserve(rows[i].cache->length() + 1);
    const auto* embedding = static_cast<const std::byte*>(embedding_) +
                            rows[i].tokens[0] * width * static_cast<int64_t>(DTypeSize(dtype_));
    WidenRow(dtype_, embedding, width, workspace_.hidden + i * width);
  }
  for (int64_t layer = 0; layer < config_.num_layers; ++layer) {
    Attention(layer, rows);
    Mlp(layer, count);
  }

  int64_t wanted = 0;
  for (int64_t i = 0; i < count; ++i) {
    if (!rows[i].wants_logits) continue;
    RmsNormRow(dtype_, workspace_.hidden + i * width, final_norm_, config_.rms_norm_eps, width,
               workspace_.normed + wanted++ * width);
  }
  if (wanted > 0) {
    Multiply(lm_head_, workspace_.normed, wanted, workspace_.logits.data_ptr<float>());
  }
  const at::Tensor logits = workspace_.logits.narrow(0, 0, wanted);
  // Nothing below can throw.
  for (const DecoderRow& row : rows) row.cache->Extend(1);
  return logits;
}

void DecodeStep::Attention(int64_t layer, absl::Span<const DecoderRow> rows) {
  const Layer& weights = layers_[layer];
  const int64_t count = static_cast<int64_t>(rows.size());
  const int64_t head_dim = attention_.head_dim;
  const int64_t query_width = attention_.num_heads * head_dim;
  const int64_t kv_width = attention_.num_kv_heads * head_dim;

  Norm(weights.input_norm, count);
  Multiply(weights.qkv, workspace_.normed, count, workspace_.qkv);
  std::array<DecodeAttentionRow, kMaxDecodeRows> attention_rows;
  for (int64_t i = 0; i < count; ++i) {
    const KvCache& cache = *rows[i].cache;
    float* queries = workspace_.qkv + i * (query_width + 2 * kv_width);
    float* keys = queries + query_width;  // behind the queries: turned with them
    RotateRow(dtype_, rotary_.cos(cache.length()), rotary_.sin(cache.length()),
              attention_.num_heads + attention_.num_kv_heads, head_dim, queries);
    AppendToCache(layer, cache, keys, keys + kv_width);
    attention_rows[i] = {.queries = queries,
                         .keys = cache.keys(layer),
                         .values = cache.values(layer),
                         .stride = cache.capacity(),
                         .length = cache.length() + 1,
                         .output = workspace_.attended + i * query_width};
  }
  DecodeAttention(attention_, absl::MakeConstSpan(attention_rows).first(count),
                  workspace_.attention_scratch, parallel_for_);
  Multiply(weights.attention_out, workspace_.attended, count, workspace_.branch);
  AddBranch(count);
}

void DecodeStep::Mlp(int64_t layer, int64_t rows) {
  const Layer& weights = layers_[layer];
  const int64_t width = config_.intermediate_size;
  Norm(weights.post_norm, rows);
  Multiply(weights.gate_up, workspace_.normed, rows, workspace_.gate_up);
  for (int64_t i = 0; i < rows; ++i) {
    SiluGateRow(dtype_, workspace_.gate_up + i * 2 * width, width, workspace_.gated + i * width);
  }
  Multiply(weights.down, workspace_.gated, rows, workspace_.branch);
  AddBranch(rows);
}

void DecodeStep::Norm(const void* weight, int64_t rows) {
  const int64_t width = config_.hidden_size;
  for (int64_t i = 0; i < rows; ++i) {
    RmsNormRow(dtype_, workspace_.hidden + i * width, weight, config_.rms_norm_eps, width,
               workspace_.normed + i * width);
  }
}

void DecodeStep::AddBranch(int64_t rows) {
  AddRow(dtype_, workspace_.branch, rows * config_.hidden_size, workspace_.hidden);
}

void DecodeStep::Multiply(const LinearWeight& weight, const float* x, int64_t rows, float* y) {
  const RowGroup all = {.begin = 0, .end = rows, .patches = {}};
  Linear(weight, x, absl::MakeConstSpan(&all, 1), y, workspace_.linear_scratch, parallel_for_);
}

void DecodeStep::AppendToCache(int64_t layer, const KvCache& cache, const float* keys,
                               const float* values) {
  const int64_t head_dim = attention_.head_dim;
  const int64_t element_bytes = static_cast<int64_t>(DTypeSize(dtype_));
  for (int64_t head = 0; head < attention_.num_kv_heads; ++head) {
    const int64_t at = (head * cache.capacity() + cache.length()) * head_dim * element_bytes;
    NarrowRow(dtype_, keys + head * head_dim, head_dim, cache.keys(layer) + at);
    NarrowRow(dtype_, values + head * head_dim, head_dim, cache.values(layer) + at);
  }
}

}  // namespace shira
