// File: server/model/decoder.h
//
// The forward pass of a decoder-only transformer in Llama's shape. Everything that differs between
// models comes from ModelConfig and from which parameters there are.

#ifndef SHIRA_SERVER_MODEL_DECODER_H_
#define SHIRA_SERVER_MODEL_DECODER_H_

#include <ATen/ATen.h>

#include <cstdint>

#include "absl/types/span.h"
#include "server/model/decode_step.h"
#include "server/model/decoder_row.h"
#include "server/model/decoder_weights.h"
#include "server/model/kv_cache.h"
#include "server/model/layers.h"
#include "server/model/resident_weights.h"
#include "server/model/rotary_embedding.h"

namespace shira {

// Methods throw what LibTorch throws. Not thread-safe.
class Decoder {
 public:
  // Reads the weights where they are, at each call; they must outlive this object.
  explicit Decoder(const ResidentWeights& weights);

  Decoder(const Decoder&) = delete;
  Decoder& operator=(const Decoder&) = delete;

  // One pass over all rows: projections on the tokens of all rows together, attention per row.
  // Appends the tokens to the caches, all or (when it throws) none. Returns float
  // [rows that want logits, vocab_size], in the rows' order; it may change at the next call.
  // REQUIRES: no cache occurs twice; every cache has room; ids are within the vocabulary; rows and
  // their tokens are not empty.
  //
  // Up to kMaxDecodeRows rows of one token each take DecodeStep, where a row's logits do not depend
  // on the other rows. Other batches take LibTorch's products, where they may in the last bits.
  at::Tensor Forward(absl::Span<const DecoderRow> rows);

 private:
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
  DecoderWeights weights_;
  DecodeStep decode_step_;
};

}  // namespace shira

#endif  // SHIRA_SERVER_MODEL_DECODER_H_
