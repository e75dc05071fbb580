// File: server/model/kernels/attention_block-inl.h
//
// What attention with vectors and with matrix tiles share: a tile of queries, where a block of keys
// and values lies, and how scores become weights. Included once per target, after highway.h and its
// math.

#ifndef SHIRA_SERVER_MODEL_KERNELS_ATTENTION_BLOCK_ONCE_
#define SHIRA_SERVER_MODEL_KERNELS_ATTENTION_BLOCK_ONCE_

#include <algorithm>
#include <cstdint>
#include <limits>

#include "server/model/kernels/attention_kernel.h"

namespace shira {

inline constexpr int64_t kBlock = kAttentionBlock;
inline constexpr int64_t kPagesOfBlock = kBlock / kPageTokens;

inline int64_t RoundUp(int64_t value, int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}
inline int64_t PaddedDim(const AttentionShape& shape) { return RoundUp(shape.head_dim, 16); }
inline int64_t PlaneElements(const AttentionShape& shape) { return PaddedDim(shape) * kPageTokens; }

// A tile of queries of one key head on its way through the positions.
struct Tile {
  const AttentionShape& shape;
  const AttentionRow& row;
  int64_t kv_head;
  int64_t first;  // of the tile's tokens among the row's
  int64_t tokens;
  const float* queries;  // [tokens, group, head_dim]

  int64_t position(int64_t token) const { return row.start + first + token; }
  int64_t rows() const { return tokens * shape.queries_per_kv_head(); }
};

}  // namespace shira
#endif  // SHIRA_SERVER_MODEL_KERNELS_ATTENTION_BLOCK_ONCE_

// The guard toggles: foreach_target.h includes the kernel's file, and with it this one, again.
#if defined(SHIRA_SERVER_MODEL_KERNELS_ATTENTION_BLOCK_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SHIRA_SERVER_MODEL_KERNELS_ATTENTION_BLOCK_INL_H_
#undef SHIRA_SERVER_MODEL_KERNELS_ATTENTION_BLOCK_INL_H_
#else
#define SHIRA_SERVER_MODEL_KERNELS_ATTENTION_BLOCK_INL_H_
#endif

#include <hwy/contrib/math/math-inl.h>
#include <hwy/highway.h>

#include "server/model/kernels/vector_types-inl.h"

HWY_BEFORE_NAMESPACE();
namespace shira::HWY_NAMESPACE {

// A block as the pages hold it.
template <typename T>
struct PagedBlock {
  const T* keys[kPagesOfBlock];
  const T* values[kPagesOfBlock];
  int64_t padded_dim;
  const T* next_keys[kPagesOfBlock];  // of the block that is read next

  HWY_INLINE FloatVector Keys(int64_t k, int64_t position) const {
    return Widen(keys[position / kPageTokens] + k * kPageTokens + position % kPageTokens);
  }
  HWY_INLINE FloatVector Values(int64_t position, int64_t k) const {
    return Widen(values[position / kPageTokens] + position % kPageTokens * padded_dim + k);
  }
  // The processor sees a stream within 4 KiB only, and pages are far from each other.
  HWY_INLINE void PrefetchKeys(int64_t k) const {
    for (int64_t i = 0; i < kPagesOfBlock; ++i) {
      __builtin_prefetch(next_keys[i] + k * kPageTokens, 0, 2);
    }
  }
  HWY_INLINE void PrefetchValues(int64_t position) const {
    const int64_t i = position / kPageTokens;
    const T* row = next_keys[i] + (values[i] - keys[i]) + position % kPageTokens * padded_dim;
    for (int64_t k = 0; k < padded_dim; k += 64 / sizeof(T)) __builtin_prefetch(row + k, 0, 2);
  }
};

// The block of a row that begins at a position.
struct BlockPlace {
  const AttentionRow* row;
  int64_t kv_head;
  int64_t begin;

  // The keys of one of its pages. A page behind the sequence's end need not be there; what is read
  // in its place is not used.
  template <typename T>
  HWY_INLINE const T* Keys(const AttentionShape& shape, int64_t page) const {
    const int64_t own = begin + page * kPageTokens;
    const int64_t position = own < row->start + row->tokens ? own : begin;
    const std::byte* layer = row->pages[position / kPageTokens] + row->layer_offset;
    return reinterpret_cast<const T*>(layer) + 2 * kv_head * PlaneElements(shape);
  }
};

template <typename T>
HWY_INLINE PagedBlock<T> BlockAt(const AttentionShape& shape, const BlockPlace& place,
                                 const BlockPlace& next) {
  PagedBlock<T> block = {.keys = {}, .values = {}, .padded_dim = PaddedDim(shape), .next_keys = {}};
  for (int64_t i = 0; i < kPagesOfBlock; ++i) {
    block.keys[i] = place.Keys<T>(shape, i);
    block.values[i] = block.keys[i] + PlaneElements(shape);
    block.next_keys[i] = next.Keys<T>(shape, i);
  }
  return block;
}

// How parts are added up: each is multiplied by what brings it to the common maximum.
struct Merge {
  float keep;
  float take;
};

// For up to kMaxRows queries: their new maxima, and how what was there before is merged with what
// comes. A vector of queries at a time, so that it costs two exponentials and not two for each.
template <int kRows>
HWY_INLINE void MergeMaxima(float* HWY_RESTRICT maxima, const float* HWY_RESTRICT next,
                            Merge* HWY_RESTRICT merges) {
  const FloatTag d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  HWY_ALIGN float keep[16];
  HWY_ALIGN float take[16];
  for (int64_t i = 0; i < kRows; i += lanes) {
    const FloatVector before = hn::Load(d, maxima + i);
    const FloatVector coming = hn::Load(d, next + i);
    const FloatVector larger = hn::Max(before, coming);
    hn::Store(hn::Exp(d, hn::Sub(before, larger)), d, keep + i);
    hn::Store(hn::Exp(d, hn::Sub(coming, larger)), d, take + i);
    hn::Store(larger, d, maxima + i);
  }
  for (int i = 0; i < kRows; ++i) merges[i] = {keep[i], take[i]};
}

// scores = softcap * tanh(scores * scale / softcap).
HWY_INLINE void CapScores(float scale, float softcap, float* HWY_RESTRICT scores) {
  const FloatTag d;
  const FloatVector factor = hn::Set(d, scale / softcap);
  const FloatVector cap = hn::Set(d, softcap);
  for (int64_t i = 0; i < kBlock; i += static_cast<int64_t>(hn::Lanes(d))) {
    const FloatVector score = hn::Mul(hn::Load(d, scores + i), factor);
    hn::Store(hn::Mul(hn::Tanh(d, score), cap), d, scores + i);
  }
}

// scores = exp(scores, scaled and capped, - their maximum), zero but for positions [first, count);
// their sum and maximum.
HWY_INLINE void Weights(const AttentionShape& shape, int64_t first, int64_t count,
                        float* HWY_RESTRICT scores, float& sum, float& maximum) {
  const FloatTag d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const bool capped = shape.softcap != 0.0f;
  if (capped) CapScores(shape.scale(), shape.softcap, scores);
  const FloatVector factor = hn::Set(d, capped ? 1.0f : shape.scale());
  std::fill(scores, scores + first, -std::numeric_limits<float>::infinity());
  std::fill(scores + count, scores + kBlock, -std::numeric_limits<float>::infinity());
  FloatVector largest = hn::Set(d, -std::numeric_limits<float>::infinity());
  for (int64_t i = 0; i < kBlock; i += lanes) {
    largest = hn::Max(largest, hn::Mul(hn::Load(d, scores + i), factor));
  }
  largest = hn::MaxOfLanes(d, largest);
  FloatVector sums = hn::Zero(d);
  for (int64_t i = 0; i < kBlock; i += lanes) {
    const FloatVector score = hn::Mul(hn::Load(d, scores + i), factor);
    const FloatVector power = hn::Exp(d, hn::Sub(score, largest));
    hn::Store(power, d, scores + i);
    sums = hn::Add(sums, power);
  }
  sum = SumOf(sums);
  maximum = hn::GetLane(largest);
}

HWY_INLINE void Clear(int64_t padded_dim, float* part) {
  std::fill_n(part, padded_dim + 1, 0.0f);
  part[padded_dim + 1] = -std::numeric_limits<float>::infinity();
}

}  // namespace shira::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // SHIRA_SERVER_MODEL_KERNELS_ATTENTION_BLOCK_INL_H_
