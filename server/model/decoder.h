// File: server/model/decoder.h
//
// The forward pass of a decoder-only transformer in Llama's shape. Everything that differs between
// models comes from ModelConfig and from which parameters there are.

#ifndef SHIRA_SERVER_MODEL_DECODER_H_
#define SHIRA_SERVER_MODEL_DECODER_H_

#include <ATen/ATen.h>

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "server/model/kv_cache.h"
#include "server/model/layers.h"
#include "server/model/resident_weights.h"
#include "server/model/rotary_embedding.h"

namespace shira {

// One sequence's part of a batch: `tokens` follow what `cache` holds.
struct DecoderRow {
  KvCache* cache = nullptr;
  absl::Span<const int32_t> tokens;
  bool wants_logits = false;  // of the last token
};

// Methods throw what LibTorch throws. Not thread-safe.
class Decoder {
 public:
  // Reads the weights where they are, at each call; they must outlive this object.
  explicit Decoder(const ResidentWeights& weights);

  // One pass over all rows: projections on the tokens of all rows together, attention per row.
  // Appends the tokens to the caches, all or (when it throws) none. Returns float
  // [rows that want logits, vocab_size], in the rows' order. REQUIRES: no cache occurs twice; every
  // cache has room; ids are within the vocabulary; rows and their tokens are not empty.
  at::Tensor Forward(absl::Span<const DecoderRow> rows) const;

 private:
  // Biases are undefined where the model has none.
  struct Layer {
    at::Tensor input_norm;               // [hidden]
    at::Tensor qkv, qkv_bias;            // [(heads + 2 * kv_heads) * head_dim, hidden]
    at::Tensor attention_out, out_bias;  // [hidden, heads * head_dim]
    at::Tensor post_norm;                // [hidden]
    at::Tensor gate_up, gate_up_bias;    // [2 * intermediate, hidden]
    at::Tensor down, down_bias;          // [hidden, intermediate]
  };

  // A row's place in the batch, and its mask.
  struct Segment {
    KvCache* cache;
    int64_t begin;  // first of its tokens among all tokens
    int64_t tokens;
    at::Tensor mask;
  };

  at::Tensor AttentionBlock(int64_t layer, const at::Tensor& x,
                            const RotaryEmbedding::Angles& angles,
                            absl::Span<const Segment> segments) const;

  const ModelConfig& config_;
  at::ScalarType dtype_;
  AttentionShape attention_;
  RotaryEmbedding rotary_;
  at::Tensor embedding_;  // [vocab, hidden]
  at::Tensor final_norm_;
  at::Tensor lm_head_;  // [vocab, hidden]; embedding_ when tied
  std::vector<Layer> layers_;
};

}  // namespace shira

#endif  // SHIRA_SERVER_MODEL_DECODER_H_
