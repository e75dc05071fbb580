// File: server/model/decoder.h
//
// The forward pass of a decoder-only transformer: few kernels over buffers that stay. Everything that
// differs between models comes from ModelConfig, its layers, and which tensors there are.

#ifndef SHIRA_SERVER_MODEL_DECODER_H_
#define SHIRA_SERVER_MODEL_DECODER_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "adapters/switch/compiled_state.h"
#include "base/parallel.h"
#include "server/executor/batch_row.h"
#include "server/model/activations.h"
#include "server/model/batch_plan.h"
#include "server/model/decoder_weights.h"
#include "server/model/expert_routing.h"
#include "server/model/kernels/attention.h"
#include "server/model/kernels/layers.h"
#include "server/model/layer_groups.h"
#include "server/model/resident_weights.h"
#include "server/model/rotary_table.h"

namespace shira {

// How many tokens go through the layers together. More do not make the products faster, but the
// buffers larger.
inline constexpr int64_t kSliceTokens = 512;

// The sizes of a model's attention.
AttentionShape AttentionShapeOf(const ModelConfig& config, DType dtype);

// Methods throw std::bad_alloc, and what RotaryEmbedding throws. Not thread-safe.
class Decoder {
 public:
  // Reads the weights where they are, at each call; they must outlive this object. Batches of more
  // than `slice_tokens` tokens are cut.
  Decoder(const ResidentWeights& weights, ParallelFor parallel_for,
          int64_t slice_tokens = kSliceTokens);

  Decoder(const Decoder&) = delete;
  Decoder& operator=(const Decoder&) = delete;

  // One pass over all rows. Appends the tokens, but for drafted ones, to the caches, all or (when it
  // throws) none. Returns [logits that the rows want, vocab_size], in the rows' order, valid until the
  // next call.
  //
  // A row's logits, keys and values are the same bit for bit whatever the other rows are, however
  // its tokens are cut into chunks, with any number of threads, and whether the weights in memory
  // are those of its state or are patched to be. REQUIRES: no cache occurs twice; every cache has
  // room(); ids are within the vocabulary; tokens are not empty; states were compiled for these
  // weights, which are in state `resident`; caches are KvCaches.
  absl::Span<const float> Forward(const CompiledState& resident, absl::Span<const BatchRow> rows);

 private:
  // The parts of a pass over a slice.
  void Embed(const Slice& slice, absl::Span<const BatchRow> rows);
  void RunLayer(int64_t layer, const Slice& slice, absl::Span<const BatchRow> rows);
  // Queries and keys through their norms, where the model has any, and to their positions; keys and
  // values into the caches.
  void PlaceAndStore(int64_t layer, const Slice& slice, absl::Span<const BatchRow> rows);
  // The attention's sinks as each state of the slice has them, where the layer has any.
  void PlaceSinks(int64_t layer, const Slice& slice);
  void KeepWanted(const Slice& slice, absl::Span<const BatchRow> rows);
  absl::Span<const float> Logits();
  // What the model does to `count` logits after their product.
  void FinishLogits(int64_t count, float* logits) const;

  // When what is in `branch` is added to the hidden state, if there is anything.
  enum class Add { kNothing, kBeforeNorm, kAfterNorm };
  // Adds the branch, through its own norm `post_norm` where there is one. Returns the norm of the
  // hidden state, or that itself where there is no norm.
  const float* AddAndNorm(Add add, const DecoderWeights::Norm& post_norm,
                          const DecoderWeights::Norm& norm, const Slice& slice);
  // hidden += branch of one token.
  void AddBranch(const NormWeights& post_norm, int64_t token) const;
  void QueriesKeysValues(const DecoderWeights::Projection& projection, const float* input,
                         const Slice& slice);
  // `heads` heads of qkv from `first` on through a norm; nothing where there is no norm.
  void NormHeads(const DecoderWeights::Norm& norm, int64_t first, int64_t heads,
                 const Slice& slice);
  // The layer's MLP, or its mixture of experts: from `input` to the branch, both [tokens, hidden].
  void RunMlp(int64_t layer, const float* input, const Slice& slice);
  // Tokens go to their experts' rows and come back: experts without rows are not read.
  void RunMixture(const DecoderWeights::Layer& weights, const float* input, const Slice& slice);
  // The rows of an expert by states, counted from its first one; valid until the next call.
  absl::Span<const StateGroup> GroupsOf(int64_t expert, const Slice& slice);
  // gated = activation of gate_up. rows: of `width` elements each
  void Activate(int64_t rows, int64_t width);
  // y = x times the weights of each group's state. x: [tokens, in]; y: [tokens, out].
  void Multiply(const DecoderWeights::Projection& projection, const float* x,
                absl::Span<const StateGroup> groups, float* y);
  // A vector as a state has it: in memory, or in `copy`, which is written.
  const void* VectorOf(const DecoderWeights::Vector& vector, int64_t state,
                       std::vector<std::byte>& copy) const;
  // A norm's vectors in the same way.
  struct NormCopy {
    std::vector<std::byte> weight;
    std::vector<std::byte> bias;
  };
  NormWeights NormOf(const DecoderWeights::Norm& norm, int64_t state, NormCopy& copy) const;
  // Calls body(token) for all of [begin, end), on several threads if `products` per token are
  // worth it.
  template <typename Body>
  void ForTokens(int64_t begin, int64_t end, int64_t products, Body body) const;

  const ModelConfig& config_;
  const DType dtype_;
  const AttentionShape shape_;
  const LayerGroups groups_;
  const ParallelFor parallel_for_;
  const DecoderWeights weights_;
  std::vector<RotaryTable> rotary_;  // by ModelConfig::ropes
  Attention attention_;
  const Activations activations_;
  ExpertRouting routing_;  // of a layer's mixture
  BatchPlan plan_;

  // What a pass fills and keeps for the next one.
  std::vector<AttentionRow> attention_rows_;  // of a slice
  std::vector<float> sinks_;                  // [groups of the slice, heads]
  std::vector<RowGroup> row_groups_;
  std::vector<StateGroup> expert_groups_;
  std::vector<StateGroup> wanted_;  // of the tokens whose logits are wanted, in the batch's order
  std::vector<int64_t> wanted_index_;  // by row of the batch: of its first token among those
  std::vector<std::byte> patched_bias_;
  std::vector<std::byte> patched_sinks_;
  NormCopy patched_norm_;
  NormCopy patched_post_norm_;
  AlignedBuffer final_{0};   // [wanted tokens, hidden], through the last norm
  AlignedBuffer logits_{0};  // [wanted tokens, vocab_size]
  int64_t wanted_room_ = 0;  // tokens that the two have room for
};

}  // namespace shira

#endif  // SHIRA_SERVER_MODEL_DECODER_H_
