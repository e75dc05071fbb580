// File: server/model/kernels/attention_kernel.h
//
// The arithmetic of causal attention over keys and values in pages.
//
// Positions are taken in blocks of kAttentionBlock, and blocks in pieces of kAttentionPiece, always from
// position 0 on. Within a block a query's scores, exponentials and sums of values are computed in
// the order of positions; blocks are added up in order to a piece, and pieces in order to the
// result, each time after bringing both sides to the larger of their maxima. So what a query gets
// depends on the query, its position and what is stored up to there, and on nothing else: the
// functions below only differ in how much they do at a time. Blocks and pieces of which a query sees
// nothing, since its window begins behind them, are left out. A head's sink is added to the result, as
// the last thing.

#ifndef SHIRA_SERVER_MODEL_KERNELS_ATTENTION_KERNEL_H_
#define SHIRA_SERVER_MODEL_KERNELS_ATTENTION_KERNEL_H_

#include <cmath>
#include <cstddef>
#include <cstdint>

#include "base/dtype.h"

namespace shira {

struct AttentionShape {
  DType dtype = DType::kF32;  // of keys and values: kF32, kBF16 or kF16
  int64_t num_heads = 0;
  int64_t num_kv_heads = 0;  // divides num_heads
  int64_t head_dim = 0;
  float score_scale = 0.0f;  // a score is this times query . key; 0: 1 / sqrt(head_dim)
  float softcap = 0.0f;      // a score becomes softcap * tanh(score / softcap); 0: it stays

  int64_t queries_per_kv_head() const { return num_heads / num_kv_heads; }
  // What query . key is multiplied with.
  float scale() const {
    return score_scale != 0.0f ? score_scale : 1.0f / std::sqrt(static_cast<float>(head_dim));
  }
};

// Positions of a sequence that one page holds.
inline constexpr int64_t kPageTokens = 32;

// Positions that are read together: of a block in which a query sees anything, all pages are read.
inline constexpr int64_t kAttentionBlock = 64;

// One layer's part of a page, in bytes: a multiple of 64. For each key head [padded_dim,
// kPageTokens] keys, turned so that a vector holds one element of many positions, and then
// [kPageTokens, padded_dim] values; padded_dim is head_dim rounded up to 16.
int64_t LayerBytesOfPage(const AttentionShape& shape);

// Writes one position's keys and values to its place, 0 to kPageTokens - 1, in a page.
//   keys, values: [num_kv_heads, head_dim], values of the dtype
//   layer: LayerBytesOfPage() bytes, 64-byte aligned
void StoreInPage(const AttentionShape& shape, const float* keys, const float* values, int64_t place,
                 std::byte* layer);

// Consecutive positions of one sequence, whose keys and values are in its pages already.
struct AttentionRow {
  const float* queries = nullptr;  // [tokens, num_heads, head_dim], values of the dtype
  int64_t query_stride = 0;        // floats from a token's queries to the next token's
  // Page i holds the positions from i * kPageTokens on; as many pages as start + tokens need. Of
  // those that lie before the block of first_seen(start), the address alone has to be valid.
  const std::byte* const* pages = nullptr;
  int64_t layer_offset = 0;  // bytes from a page's start to the layer
  int64_t start = 0;         // position of the first query
  int64_t tokens = 0;        // queries, at least one
  int64_t window = 0;        // positions that a query sees, the last of them its own; 0: all
  // [num_heads]: a score for each head that counts among those of positions as that of a position whose
  // value is zero. null: there is none.
  const float* sinks = nullptr;
  float* output = nullptr;  // [tokens, num_heads * head_dim], rounded to the dtype

  // The first position that the query at `position` sees.
  int64_t first_seen(int64_t position) const {
    return window == 0 || position < window ? 0 : position - window + 1;
  }
};

// Tokens of a tile, at most: with vectors more would not stay in the first-level cache, matrix tiles
// share a block that is packed for them.
int64_t AttentionTileTokens(const AttentionShape& shape);
// A tile of tokens, from `first` of the row's on, for one key head: their outputs.
void AttendTile(const AttentionShape& shape, const AttentionRow& row, int64_t kv_head,
                int64_t first, int64_t tokens);

// Positions of a piece: the work of one thread on a long context.
inline constexpr int64_t kAttentionPiece = 256;
inline int64_t AttentionPieces(int64_t length) {
  return (length + kAttentionPiece - 1) / kAttentionPiece;
}
// Floats of what a piece leaves for one query, a multiple of 16: sums of exp(score - maximum) *
// value, the sum of the exponentials, the maximum.
int64_t AttentionPartSize(const AttentionShape& shape);

// A piece of the context of a row of one token, for one key head.
struct RowPiece {
  const AttentionRow* row = nullptr;
  int64_t kv_head = 0;
  int64_t piece = 0;

  int64_t begin() const { return piece * kAttentionPiece; }  // position
};

// One piece. The start of `next`, unless that is null, comes into the cache on the way.
//   parts: [queries_per_kv_head, AttentionPartSize()], 64-byte aligned
void AttendPiece(const AttentionShape& shape, const RowPiece& piece, const RowPiece* next,
                 float* parts);
// The outputs from the parts of all pieces: [pieces, queries_per_kv_head, AttentionPartSize()].
void FinishPieces(const AttentionShape& shape, const AttentionRow& row, int64_t kv_head,
                  const float* parts);

}  // namespace shira

#endif  // SHIRA_SERVER_MODEL_KERNELS_ATTENTION_KERNEL_H_
