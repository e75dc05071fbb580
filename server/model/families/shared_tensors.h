// File: server/model/families/shared_tensors.h
//
// The tensors of decoders that have what Llama has, under the names that transformers and llama.cpp
// give to it in most families: q, k, v and o projections, gate, up and down projections, norms. What
// a family has besides or otherwise is an option here, or in its own file.

#ifndef SHIRA_SERVER_MODEL_FAMILIES_SHARED_TENSORS_H_
#define SHIRA_SERVER_MODEL_FAMILIES_SHARED_TENSORS_H_

#include <cstdint>
#include <string_view>
#include <vector>

#include "base/gguf_file.h"
#include "server/model/families/mixture.h"
#include "server/model/model_config.h"
#include "server/model/tensor_spec.h"

namespace shira {

// Where a layer has norms of what attention and MLP see, and of what they add.
enum class SharedNorms {
  kBefore,      // input_layernorm, post_attention_layernorm before attention and MLP
  kBeforeBoth,  // input_layernorm alone, before both
  kAround,      // four, one before and one after each
  kAfter,       // post_attention_layernorm, post_feedforward_layernorm after attention and MLP
};

struct SharedTensorOptions {
  SharedNorms norms = SharedNorms::kBefore;
  bool norm_bias = false;         // of these, and of the last norm
  float gguf_norm_offset = 0.0f;  // what llama.cpp has added to the weights of all norms
  bool query_key_value_bias = false;
  bool attention_output_bias = false;
  bool mlp_bias = false;
  bool fused_query_key_value = false;  // q, k and v are one parameter, without biases
  // Gate and up are one parameter of this name, without biases; "": two.
  std::string_view fused_gate_up = "";
  bool gguf_halves_gate_up = false;  // which llama.cpp takes apart
  bool query_key_norms = false;      // as ModelConfig::head_norms says
  bool attention_sinks = false;
  std::string_view gguf_mlp_norm = "ffn_norm";  // of SharedNorms::kBefore
  std::string_view up = "mlp.up_proj";
  std::string_view down = "mlp.down_proj";
  MixtureNames mixture = {};  // of the layers that have one
  // Adds the tensors of a mixture, in families that have others than AddMixtureTensors() adds.
  void (*add_mixture)(const ModelConfig& config, int64_t layer,
                      std::vector<TensorSpec>& tensors) = nullptr;
  GgufRows gguf_rotary_rows = GgufRows::kSame;  // of the q and k projections
};

// A tensor of the whole model, or of the layer that `place` says: its names are `name` and `gguf_name`
// behind the layer's number and before ".weight" or ".bias". `layers` is what transformers has before
// the number, "model.layers.".
TensorSpec NamedTensor(std::string_view layers, std::string_view name, std::string_view gguf_name,
                       TensorPlace place, std::vector<int64_t> shape, GgufRows rows);

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
