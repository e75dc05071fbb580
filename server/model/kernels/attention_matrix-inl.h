// File: server/model/kernels/attention_matrix-inl.h
//
// Attention with matrix tiles (tile_product.h), for prompts and decoding rows alike: queries times a
// block's keys, and the weights, rounded to bfloat16, times its values. Included once per target,
// after highway.h and its math.

// The guard toggles: foreach_target.h includes the kernel's file, and with it this one, again.
#if defined(SHIRA_SERVER_MODEL_KERNELS_ATTENTION_MATRIX_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SHIRA_SERVER_MODEL_KERNELS_ATTENTION_MATRIX_INL_H_
#undef SHIRA_SERVER_MODEL_KERNELS_ATTENTION_MATRIX_INL_H_
#else
#define SHIRA_SERVER_MODEL_KERNELS_ATTENTION_MATRIX_INL_H_
#endif

#include <hwy/highway.h>

#include <algorithm>
#include <cstdint>

#include "base/float_types.h"
#include "server/model/kernels/attention_block-inl.h"
#include "server/model/kernels/tile_product.h"
#include "server/model/kernels/vector_types-inl.h"

HWY_BEFORE_NAMESPACE();
namespace shira::HWY_NAMESPACE {

// The blocks of a tile of queries, one after the other. A query's results depend on the query and on
// what it sees alone: weights of positions that it does not see are zeros, and values there are
// zeros too unless they are finite.
template <class Tiles>
class MatrixBlocks {
 public:
  using Element = BFloat16;

  // Floats of scratch for so many queries.
  static int64_t MemoryFloats(const AttentionShape& shape, int64_t rows) {
    const int64_t elements = (QueryRows(rows) + kBlock) * Columns(shape) +
                             kBlock * PaddedDim(shape) + kMaxTileOuts * kBlock;
    return elements / 2 + kScores;
  }

  // memory: 64-byte aligned; must stay, like the tile, as long as the object.
  HWY_ATTR MatrixBlocks(const Tile& tile, float* memory)
      : tile_(tile),
        group_(tile.shape.queries_per_kv_head()),
        columns_(Columns(tile.shape)),
        sums_(memory),
        queries_(reinterpret_cast<BFloat16*>(memory + kScores)),
        keys_(queries_ + QueryRows(tile.rows()) * columns_),
        values_(keys_ + kBlock * columns_),
        weights_(values_ + kBlock * PaddedDim(tile.shape)) {
    const int64_t dim = tile.shape.head_dim;
    std::fill_n(queries_, QueryRows(tile.rows()) * columns_, BFloat16());
    for (int64_t row = 0; row < tile.rows(); ++row) {
      for (int64_t k = 0; k < dim; k += kTileColumns) {
        const float* from = tile.queries + row * dim + k;
        float padded[kTileColumns] = {};
        if (k + kTileColumns > dim) from = std::copy(from, from + dim - k, padded) - (dim - k);
        NarrowStep(from, queries_ + row * columns_ + k);
      }
    }
  }

  // Adds the block at position `begin` to what the queries have: parts [rows, part_size].
  HWY_ATTR void Attend(const PagedBlock<BFloat16>& block, int64_t begin, float* parts) {
    PackKeys(block);
    const int64_t last = tile_.tokens - 1;
    const int64_t first = First(0, begin), count = Count(last, begin);  // seen by any token
    PackValues(block, first, count);
    const bool all_see_all = First(last, begin) == first && Count(0, begin) == count;
    if (all_see_all || AreFinite(block, first, count)) {
      return AttendTokens(begin, 0, tile_.tokens, parts);
    }
    for (int64_t token = 0; token < tile_.tokens; ++token) {
      PackValues(block, First(token, begin), Count(token, begin));
      AttendTokens(begin, token, 1, parts);
    }
  }

 private:
  static constexpr int64_t kScores = kBlock * kMaxTileOuts;  // floats: two products
  static_assert(kScores == 2 * kTileSums);

  // Products take whole tiles of rows, from any row on.
  static int64_t QueryRows(int64_t rows) { return RoundUp(rows, kTileSide) + kTileSide; }
  static int64_t Columns(const AttentionShape& shape) {
    return RoundUp(shape.head_dim, kTileColumns);
  }

  // The positions of a block that a token sees: [First, Count), none if that is empty.
  int64_t First(int64_t token, int64_t begin) const {
    return std::max<int64_t>(tile_.row.first_seen(tile_.position(token)) - begin, 0);
  }
  int64_t Count(int64_t token, int64_t begin) const {
    return std::min(kBlock, tile_.position(token) + 1 - begin);
  }

  // to[i] = {a[i], b[i]} for kTileSide elements.
  static HWY_INLINE void Pair(const BFloat16* a, const BFloat16* b, BFloat16* to) {
    const FloatTag d;
    const hn::Rebind<uint16_t, FloatTag> d16;
    const hn::Rebind<uint32_t, FloatTag> d32;
    for (int64_t i = 0; i < kTileSide; i += static_cast<int64_t>(hn::Lanes(d))) {
      const auto low = hn::LoadU(d16, reinterpret_cast<const uint16_t*>(a + i));
      const auto high = hn::LoadU(d16, reinterpret_cast<const uint16_t*>(b + i));
      hn::StoreU(hn::Or(hn::PromoteTo(d32, low), hn::ShiftLeft<16>(hn::PromoteTo(d32, high))), d32,
                 reinterpret_cast<uint32_t*>(to + 2 * i));
    }
  }

  // keys_: [kBlock / kTileSide, columns / 2, kTileSide, 2].
  HWY_INLINE void PackKeys(const PagedBlock<BFloat16>& block) {
    for (int64_t k = 0; k < columns_; k += 2) {
      if (k < tile_.shape.head_dim) block.PrefetchKeys(k);
      if (k + 1 < tile_.shape.head_dim) block.PrefetchKeys(k + 1);
      for (int64_t at = 0; at < kBlock; at += kTileSide) {
        const BFloat16* page = block.keys[at / kPageTokens] + at % kPageTokens;
        const auto row = [&](int64_t i) {
          return i < tile_.shape.head_dim ? page + i * kPageTokens : kZeros;
        };
        Pair(row(k), row(k + 1), keys_ + (at / kTileSide * columns_ + k) * kTileSide);
      }
    }
  }

  const BFloat16* ValuesAt(const PagedBlock<BFloat16>& block, int64_t i) const {
    return block.values[i / kPageTokens] + i % kPageTokens * block.padded_dim;
  }

  // values_: [padded_dim / kTileSide, kBlock / 2, kTileSide, 2], zeros but for positions
  // [first, count).
  HWY_INLINE void PackValues(const PagedBlock<BFloat16>& block, int64_t first, int64_t count) {
    for (int64_t at = 0; at < kBlock; at += 2) {
      const BFloat16* rows[2] = {kZeros, kZeros};
      int64_t strides[2] = {0, 0};
      for (int64_t i = 0; i < 2; ++i) {
        if (at + i < first || at + i >= count) continue;
        rows[i] = ValuesAt(block, at + i);
        strides[i] = 1;
        block.PrefetchValues(at + i);
      }
      for (int64_t k = 0; k < block.padded_dim; k += kTileSide) {
        Pair(rows[0] + k * strides[0], rows[1] + k * strides[1],
             values_ + (k / kTileSide * kBlock + at) * kTileSide);
      }
    }
  }

  // Whether the values of positions [first, count) are finite.
  HWY_INLINE bool AreFinite(const PagedBlock<BFloat16>& block, int64_t first, int64_t count) const {
    const FloatTag d;
    const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
    FloatVector zeros = hn::Zero(d);  // NaN once a value is not finite
    for (int64_t at = first; at < count; ++at) {
      const BFloat16* row = ValuesAt(block, at);
      for (int64_t k = 0; k < tile_.shape.head_dim; k += lanes) {
        const auto some = static_cast<size_t>(tile_.shape.head_dim - k);
        zeros = hn::MulAdd(WidenSome(row + k, some), hn::Zero(d), zeros);
      }
    }
    return SumOf(zeros) == 0.0f;
  }

  HWY_INLINE void AttendTokens(int64_t begin, int64_t token, int64_t tokens, float* parts) {
    const int64_t end = (token + tokens) * group_;
    for (int64_t row = token * group_; row < end; row += kMaxTileOuts) {
      AttendRows(begin, row, std::min(kMaxTileOuts, end - row), parts);
    }
  }

  // Queries [row, row + rows): the whole way from scores to parts.
  HWY_INLINE void AttendRows(int64_t begin, int64_t row, int64_t rows, float* parts) {
    const AttentionShape& shape = tile_.shape;
    const int64_t part_size = AttentionPartSize(shape);
    const int64_t padded_dim = PaddedDim(shape);
    parts += row * part_size;
    TileProduct product = {.weights = queries_ + row * columns_,
                           .outs = RoundUp(rows, kTileSide),
                           .in = columns_,
                           .packed = keys_,
                           .rows = kTileSide,
                           .tiles = 2};
    tiles_.Multiply(product, sums_);
    product.packed += 2 * kTileSide * columns_;
    tiles_.Multiply(product, sums_ + kTileSums);

    Merge merges[kMaxTileOuts];
    bool sees[kMaxTileOuts];
    for (int64_t q = 0; q < rows; q += kTileSide) {
      MergeWeights(begin, row, q, std::min(kTileSide, rows - q), parts, sees, merges);
    }

    product.weights = weights_;
    product.in = kBlock;
    for (int64_t k = 0; k < padded_dim; k += product.tiles * kTileSide) {
      product.packed = values_ + k * kBlock;
      product.tiles = k + kTileSide < padded_dim ? 2 : 1;
      tiles_.Multiply(product, sums_);
      for (int64_t q = 0; q < rows; ++q) {
        if (!sees[q]) continue;
        for (int64_t tile = 0; tile < product.tiles; ++tile) {
          AddSums(sums_ + (tile * kMaxTileOuts + q) * kTileSide, merges[q],
                  parts + q * part_size + k + tile * kTileSide);
        }
      }
    }
  }

  // Up to kTileSide queries from row + q on: their scores become weights_, and what their parts
  // have, but for the values, is merged.
  HWY_INLINE void MergeWeights(int64_t begin, int64_t row, int64_t q, int64_t count, float* parts,
                               bool* sees, Merge* merges) {
    const FloatTag d;
    const int64_t part_size = AttentionPartSize(tile_.shape);
    const int64_t padded_dim = PaddedDim(tile_.shape);
    HWY_ALIGN float scores[kBlock];
    HWY_ALIGN float before[kTileSide] = {};
    HWY_ALIGN float maxima[kTileSide] = {};
    float sums[kTileSide] = {};
    for (int64_t i = 0; i < count; ++i) {
      const int64_t token = (row + q + i) / group_;
      const int64_t first = First(token, begin), end = Count(token, begin);
      sees[q + i] = first < end;
      if (!sees[q + i]) continue;
      for (int64_t at = 0; at < kBlock; at += static_cast<int64_t>(hn::Lanes(d))) {
        const float* from = sums_ + (at / kTileSide * kMaxTileOuts + q + i) * kTileSide;
        hn::Store(hn::Load(d, from + at % kTileSide), d, scores + at);
      }
      before[i] = parts[(q + i) * part_size + padded_dim + 1];
      Weights(tile_.shape, first, end, scores, sums[i], maxima[i]);
      for (int64_t at = 0; at < kBlock; at += kTileColumns) {
        NarrowStep(scores + at, weights_ + (q + i) * kBlock + at);
      }
    }
    MergeMaxima<kTileSide>(before, maxima, merges + q);
    for (int64_t i = 0; i < count; ++i) {
      if (!sees[q + i]) continue;
      float* totals = parts + (q + i) * part_size + padded_dim;
      totals[0] = totals[0] * merges[q + i].keep + sums[i] * merges[q + i].take;
      totals[1] = before[i];
    }
  }

  // part = part * keep + sums * take, kTileSide elements.
  static HWY_INLINE void AddSums(const float* sums, const Merge& merge, float* part) {
    const FloatTag d;
    const FloatVector keep = hn::Set(d, merge.keep);
    const FloatVector take = hn::Set(d, merge.take);
    for (int64_t i = 0; i < kTileSide; i += static_cast<int64_t>(hn::Lanes(d))) {
      const FloatVector added = hn::Mul(hn::Load(d, sums + i), take);
      hn::Store(hn::MulAdd(hn::Load(d, part + i), keep, added), d, part + i);
    }
  }

  static constexpr BFloat16 kZeros[kTileSide] = {};

  const Tile& tile_;
  const int64_t group_;    // queries of a token
  const int64_t columns_;  // head_dim, padded with zeros
  float* const sums_;      // of two products
  BFloat16* const queries_;
  BFloat16* const keys_;
  BFloat16* const values_;
  BFloat16* const weights_;  // [kMaxTileOuts, kBlock]
  Tiles tiles_;
};

}  // namespace shira::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // SHIRA_SERVER_MODEL_KERNELS_ATTENTION_MATRIX_INL_H_
