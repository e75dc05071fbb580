// File: server/model/model_config.h
//
// The facts of one model: sizes and constants, read from config.json or from GGUF metadata.
// model_family.h says how to add a family.

#ifndef SHIRA_SERVER_MODEL_MODEL_CONFIG_H_
#define SHIRA_SERVER_MODEL_MODEL_CONFIG_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "base/gguf_file.h"
#include "server/model/layer_spec.h"
#include "server/model/tensor_spec.h"

namespace shira {

struct ModelFamily;

// How rotary frequencies are rescaled for longer contexts (config.json "rope_scaling" /
// "rope_parameters").
struct RopeScaling {
  enum class Kind { kNone, kLinear, kLlama3 };
  Kind kind = Kind::kNone;
  double factor = 1.0;
  double low_freq_factor = 1.0;       // llama3 only
  double high_freq_factor = 4.0;      // llama3 only
  int64_t original_max_position = 0;  // llama3 only
};

// Rotary positions of one kind of layer.
struct Rope {
  double theta = 10000.0;
  RopeScaling scaling;
  int64_t rotary_dim = 0;  // elements of a head that are turned, its first ones; 0: all

  int64_t rotary_dim_of(int64_t head_dim) const { return rotary_dim == 0 ? head_dim : rotary_dim; }
};

// Beyond any known model.
inline constexpr int64_t kMaxLayers = 1 << 12;

// A decoder-only transformer.
struct ModelConfig {
  std::string architecture;             // as the file names it: "llama"
  const ModelFamily* family = nullptr;  // which lists its tensors
  int64_t hidden_size = 0;
  int64_t num_layers = 0;
  int64_t num_heads = 0;
  int64_t num_kv_heads = 0;  // divides num_heads
  int64_t head_dim = 0;
  int64_t intermediate_size = 0;
  int64_t vocab_size = 0;
  int64_t max_position = 0;  // tokens of context
  double rms_norm_eps = 1e-5;
  std::vector<Rope> ropes = std::vector<Rope>(1);  // those that layers speak of, one at least
  bool tie_word_embeddings = false;
  bool attention_bias = false;  // where a family leaves it open whether attention has biases
  bool mlp_bias = false;
  std::vector<LayerSpec> layers;       // num_layers
  std::vector<int32_t> eos_token_ids;  // config.json, overridden by those of generation_config.json

  // Every parameter of the model in layer order, tied weights once: the family's list, which loading,
  // checking, memory, hashing and adapters use.
  std::vector<TensorSpec> Tensors() const;

  // Whether there is a family, a layer for each, and every size is positive and consistent;
  // INVALID_ARGUMENT lists every problem.
  absl::Status Validate() const;
};

// Reads DIR/config.json and, where present, DIR/generation_config.json. UNIMPLEMENTED for an
// architecture or a setting that this program does not have (names it and what is known),
// INVALID_ARGUMENT for a malformed file.
absl::StatusOr<ModelConfig> ReadHuggingFaceConfig(const std::string& folder);

// Reads the metadata of a GGUF file. Errors as above.
absl::StatusOr<ModelConfig> ReadGgufConfig(const GgufFile& gguf);

}  // namespace shira

#endif  // SHIRA_SERVER_MODEL_MODEL_CONFIG_H_
