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
#include "server/model/kernels/layer_kinds.h"
#include "server/model/layer_spec.h"
#include "server/model/tensor_spec.h"

namespace shira {

struct ModelFamily;

// How rotary frequencies are rescaled for longer contexts (config.json "rope_scaling" /
// "rope_parameters"). Two kinds depend on the length of a sequence in transformers. Here they depend
// on the longest sequence that the model is served with, since a row's keys may not depend on what
// follows it: docs/models.md says what that means.
struct RopeScaling {
  enum class Kind { kNone, kLinear, kDynamic, kLlama3, kYarn, kLongRope };
  Kind kind = Kind::kNone;
  double factor = 1.0;
  double low_freq_factor = 1.0;   // llama3 only
  double high_freq_factor = 4.0;  // llama3 only
  // Tokens of context before it was made longer; for kDynamic, those without a change.
  int64_t original_max_position = 0;
  double attention_factor = 1.0;  // cosines and sines are multiplied by it; yarn and longrope
  double beta_fast = 32.0;        // yarn only: turns in the original context ...
  double beta_slow = 1.0;         // ... above which a frequency is kept, below which divided
  bool truncate = true;           // yarn only: the range between them is of whole pairs
  std::vector<double> short_factors = {};  // longrope only: slowdowns of each frequency,
  std::vector<double> long_factors = {};   // [rotary_dim / 2]
  bool is_long = false;                    // longrope only: whether long_factors count

  // Chooses between the factors for sequences of at most `positions`.
  void ChooseFactors(int64_t positions) { is_long = positions > original_max_position; }
};

// Rotary positions of one kind of layer.
struct Rope {
  double theta = 10000.0;
  RopeScaling scaling = {};
  int64_t rotary_dim = 0;  // elements of a head that are turned, its first ones; 0: all
  // A query at position p is multiplied by 1 + beta * log(1 + floor(p / original_max_position)).
  double query_scale_beta = 0.0;

  int64_t rotary_dim_of(int64_t head_dim) const { return rotary_dim == 0 ? head_dim : rotary_dim; }
};

// Beyond any known model.
inline constexpr int64_t kMaxLayers = 1 << 12;
inline constexpr int64_t kMaxExperts = 1 << 16;  // of all layers together

// Which weights the norms of queries and keys have, where there are such norms.
enum class HeadNorms {
  kShared,  // [head_dim]: every head is normed with the same
  kOwn,     // [heads, head_dim]: every head is normed with its own
  kWhole,   // [heads * head_dim]: all heads are normed together
};

// The order of the rows of TensorRole::kQueryKeyValue.
enum class QueryKeyValueRows {
  kStacked,  // all heads' queries, all keys, all values
  kByHead,   // of each head its query, key and value; as many key heads as heads
};

// What embeddings are multiplied with.
struct EmbeddingScale {
  double factor = 1.0;
  bool rounded = false;  // to the dtype of the weights, before
};

// A mixture of experts: MLPs of which each token uses a few, those that its router scores highest. A
// token's result is the sum of their outputs, each times its weight: the softmax, over all experts, of
// the scores.
struct Mixture {
  int64_t experts = 0;  // 0: the model has no mixture
  int64_t experts_per_token = 0;
  int64_t intermediate_size = 0;  // of an expert
  bool normalised = true;         // the weights of a token's experts are divided by their sum
  // Weights, and products with them, are rounded to the dtype of the weights; else the sum alone is.
  bool rounds_weights = false;
};

// A decoder-only transformer. With the defaults a layer is
//
//   hidden += attention(norm(hidden)), hidden += mlp(norm(hidden))
//
// of causal attention of grouped heads and an MLP with a gate. The norms are there where the family
// lists their tensors: before attention and MLP, of queries and keys, and of what attention and MLP
// add to the hidden state. A family that does something else adds a member whose default is this,
// here or in LayerSpec, and a branch in the decoder.
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
  NormKind norm = NormKind::kRms;
  double norm_eps = 1e-5;
  HeadNorms head_norms = HeadNorms::kShared;
  QueryKeyValueRows query_key_value_rows = QueryKeyValueRows::kStacked;
  Activation activation = Activation::kSilu;  // of the MLP
  bool gated_mlp =
      true;  // down(activation(gate) * up); else there is no gate: down(activation(up))
  // What a gated MLP computes instead of activation(gate) * up, from rows that are gate 0, up 0, gate 1,
  // up 1, ...; none: it does not.
  std::optional<ClampedGate> clamped_gate;
  // The MLP sees the hidden state that the attention saw. Where it has no norm of its own it sees
  // that state through the attention's.
  bool parallel_residual = false;
  Mixture mixture;  // of the layers that have one
  EmbeddingScale embedding_scale;
  double residual_scale = 1.0;     // of what attention and MLP add to the hidden state
  double attention_scale = 0.0;    // of query . key; 0: 1 / sqrt(head_dim)
  double attention_softcap = 0.0;  // a score becomes softcap * tanh(score / softcap); 0: it stays
  double logit_softcap = 0.0;      // the same of logits
  double logit_divisor = 1.0;
  std::vector<Rope> ropes = std::vector<Rope>(1);  // those that layers speak of, one at least
  bool tie_word_embeddings = false;
  bool query_key_norms =
      false;                    // where a family leaves it open whether queries and keys have norms
  bool attention_bias = false;  // where a family leaves it open whether attention has biases
  bool mlp_bias = false;
  bool fused_gate_up =
      false;  // where a family leaves it open whether gate and up are one parameter
  std::vector<LayerSpec> layers;       // num_layers
  std::vector<int32_t> eos_token_ids;  // config.json, overridden by those of generation_config.json

  // Every parameter of the model in layer order, tied weights once: the family's list, which loading,
  // checking, memory, hashing and adapters use.
  std::vector<TensorSpec> Tensors() const;

  // Makes max_position `positions`. INVALID_ARGUMENT where the model has fewer.
  absl::Status LimitContext(int64_t positions);

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
