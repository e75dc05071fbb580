// File: server/model/tensor_spec.h
//
// One tensor of a model, as its family lists it: what it is called, how large it is, and what the
// forward pass does with it. Loading, checking, memory, hashing and adapters read these lists; no
// other file knows a tensor's name.

#ifndef SHIRA_SERVER_MODEL_TENSOR_SPEC_H_
#define SHIRA_SERVER_MODEL_TENSOR_SPEC_H_

#include <compare>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace shira {

// What the forward pass does with a tensor. Shapes of weights in brackets.
enum class TensorRole {
  kEmbedding,        // [vocab, hidden]
  kFinalNorm,        // [hidden]
  kOutput,           // [vocab, hidden]; none in a model whose embeddings are its output matrix too
  kAttentionNorm,    // [hidden]
  kQueryKeyValue,    // [(heads + 2 * kv_heads) * head_dim, hidden], see QueryKeyValueRows
  kQueryNorm,        // of queries, see HeadNorms
  kKeyNorm,          // of keys
  kAttentionSinks,   // [heads]: scores in the softmax beside those of positions, without values
  kAttentionOutput,  // [hidden, heads * head_dim]
  kAttentionPostNorm,  // [hidden], of what the attention adds to the hidden state
  kMlpNorm,            // [hidden]
  kRouter,             // [experts, hidden]: what scores a mixture's experts
  kGateUp,  // [2 * intermediate, hidden]: gate, up, or in pairs where ModelConfig::clamped_gate is
            // set; [intermediate, hidden] without a gate
  kDown,    // [hidden, intermediate]; of the layer, or of one expert of its mixture
  kMlpPostNorm,  // [hidden], of what the MLP adds to the hidden state
};

// Where the forward pass looks for a tensor. Tensors that share a place are a stack: they lie together
// by rows, in the order of the list, and are multiplied as one matrix.
struct TensorPlace {
  static constexpr int64_t kWholeModel = -1;
  static constexpr int64_t kWholeLayer = -1;

  TensorRole role;
  int64_t layer = kWholeModel;
  bool bias =
      false;  // a vector that is added: to a norm, or of as many elements as rows of a matrix
  int64_t expert = kWholeLayer;  // of the layer's mixture

  friend auto operator<=>(const TensorPlace&, const TensorPlace&) = default;
};

// The order of a tensor's rows in a GGUF file.
enum class GgufRows {
  kSame,  // as transformers has them
  // Each head's are interleaved (0, 1, 2, ... are frequency 0 of the first half, frequency 0 of the
  // second half, frequency 1 of the first, ...), where transformers has one half behind the other.
  kInterleavedHalves,
  // All heads' queries, all keys, all values, where transformers has each head's three together.
  kStackedHeads,
  kEvenBeforeOdd,  // rows 0, 2, 4, ..., then rows 1, 3, 5, ...
};

// The rows of a stored tensor that are one parameter, where that tensor holds several one behind the
// other.
struct StoredPart {
  std::vector<int64_t> shape;  // of the stored tensor; a row is as long as its last dimension
  int64_t first_row = 0;       // of the parameter's
  bool transposed = false;     // these rows are the parameter's columns
};

// Another form in which folders may have a parameter, and another name that adapters may have for it: how
// transformers 5 has it in memory, or what it is called where its module is an nn.Linear.
struct OtherForm {
  std::string name;
  std::optional<StoredPart> part = std::nullopt;  // none: it is the whole tensor
  // The part that it is where the tensor is quantised to MXFP4, which makes two of it: NAME_blocks of
  // [..., row / 32, 16] bytes and NAME_scales of [..., row / 32]; the shape is that of what they hold.
  // none: it is not.
  std::optional<StoredPart> mxfp4 = std::nullopt;
};

struct TensorSpec {
  std::string name;            // transformers', in the files of the hub
  std::string gguf_name;       // llama.cpp's
  std::vector<int64_t> shape;  // [out, in] of a projection, [n] of a norm or bias
  TensorPlace place;
  GgufRows gguf_rows = GgufRows::kSame;
  float gguf_offset = 0.0f;  // what llama.cpp has added to every element
  // The tensor that has the second half of its rows as gguf_rows orders them, where gguf_name has the
  // first alone; "": none.
  std::string gguf_second_half = "";
  // The other place where the model uses the tensor, by transformers' name; "" where there is none.
  std::string second_name = "";
  // What of the tensor gguf_name it is, and of that with the second half; none: all.
  std::optional<StoredPart> gguf_part = std::nullopt;
  // Folders and adapters may have it in this form instead; none: there is no other.
  std::optional<OtherForm> other = std::nullopt;

  bool is_vector() const { return shape.size() == 1; }
  int64_t rows() const { return is_vector() ? 1 : shape[0]; }
  int64_t cols() const { return shape.back(); }
  int64_t elements() const { return rows() * cols(); }
};

// The names that files have for parameters beside TensorSpec::name, each with that name.
struct OtherNames {
  std::map<std::string, std::string> tied;     // TensorSpec::second_name
  std::map<std::string, std::string> renamed;  // OtherForm::name of a whole parameter
  // OtherForm::name of a tensor that holds several parameters, with the first of them.
  std::map<std::string, std::string> fused;
};
OtherNames OtherNamesOf(const std::vector<TensorSpec>& tensors);

}  // namespace shira

#endif  // SHIRA_SERVER_MODEL_TENSOR_SPEC_H_
