#include "server/model/decoder_weights.h"

#include <cstdint>
#include <string>
#include <string_view>

#include "base/strings.h"

namespace shira {
namespace {

// The resident memory as a tensor; undefined when there is no such parameter.
at::Tensor View(const ResidentWeights& weights, std::string_view name, bool is_vector = false) {
  const ResidentWeights::Matrix matrix = weights.Find(name);
  if (matrix.data == nullptr) return {};
  const at::ScalarType dtype = ScalarTypeOf(weights.dtype());
  if (is_vector) return at::from_blob(matrix.data, {matrix.cols}, dtype);
  return at::from_blob(matrix.data, {matrix.rows, matrix.cols}, dtype);
}

at::Tensor VectorView(const ResidentWeights& weights, std::string_view name) {
  return View(weights, name, /*is_vector=*/true);
}

}  // namespace

DecoderWeights ViewWeights(const ResidentWeights& weights) {
  const ModelConfig& config = weights.config();
  DecoderWeights views;
  views.dtype = weights.dtype();
  views.embedding = View(weights, "model.embed_tokens.weight");
  views.final_norm = VectorView(weights, "model.norm.weight");
  views.lm_head = config.tie_word_embeddings ? views.embedding : View(weights, "lm_head.weight");
  for (int64_t i = 0; i < config.num_layers; ++i) {
    const auto name = [i](std::string_view part) { return StrCat("model.layers.", i, ".", part); };
    views.layers.push_back({
        .input_norm = VectorView(weights, name("input_layernorm.weight")),
        .qkv = View(weights, name("self_attn.qkv_proj.weight")),
        .qkv_bias = VectorView(weights, name("self_attn.qkv_proj.bias")),
        .attention_out = View(weights, name("self_attn.o_proj.weight")),
        .out_bias = VectorView(weights, name("self_attn.o_proj.bias")),
        .post_norm = VectorView(weights, name("post_attention_layernorm.weight")),
        .gate_up = View(weights, name("mlp.gate_up_proj.weight")),
        .gate_up_bias = VectorView(weights, name("mlp.gate_up_proj.bias")),
        .down = View(weights, name("mlp.down_proj.weight")),
        .down_bias = VectorView(weights, name("mlp.down_proj.bias")),
    });
  }
  return views;
}

at::ScalarType ScalarTypeOf(DType dtype) {
  switch (dtype) {
    case DType::kBF16:
      return at::kBFloat16;
    case DType::kF16:
      return at::kHalf;
    default:
      return at::kFloat;
  }
}

}  // namespace shira
