// File: server/model/families/shared_tensors.h
//
// The tensors of decoders that have what Llama has, under the names that transformers and llama.cpp
// give to it in most families: a norm, q, k, v and o projections, a norm, gate, up and down
// projections. What a family has besides or otherwise is an option here, or in its own file.

#ifndef SHIRA_SERVER_MODEL_FAMILIES_SHARED_TENSORS_H_
#define SHIRA_SERVER_MODEL_FAMILIES_SHARED_TENSORS_H_

#include <string_view>
#include <vector>

#include "base/gguf_file.h"
#include "server/model/model_config.h"
#include "server/model/tensor_spec.h"

namespace shira {

struct SharedTensorOptions {
  bool query_key_value_bias = false;
  bool attention_output_bias = false;
  bool mlp_bias = false;
  bool fused = false;       // q, k and v are one parameter, gate and up another; without biases
  bool head_norms = false;  // of queries and keys
  GgufRows gguf_rotary_rows = GgufRows::kSame;  // of the q and k projections
};

std::vector<TensorSpec> SharedTensors(const ModelConfig& config,
                                      const SharedTensorOptions& options);

// Those of Llama: the biases that the config says, and rotary rows in the order of its converters.
std::vector<TensorSpec> LlamaTensors(const ModelConfig& config);

// A GGUF file has no setting for biases: whether the first layer has them says so.
bool HasGgufAttentionBias(const GgufFile& gguf);
bool HasGgufMlpBias(const GgufFile& gguf);

// GGUF's names of what files are told apart by.
inline constexpr std::string_view kGgufEmbedding = "token_embd.weight";
inline constexpr std::string_view kGgufOutput = "output.weight";

}  // namespace shira

#endif  // SHIRA_SERVER_MODEL_FAMILIES_SHARED_TENSORS_H_
