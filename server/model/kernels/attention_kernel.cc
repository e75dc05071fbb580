// With vectors, what differs between a prompt's queries and a decoding one is only how a block's keys
// and values come into registers: a tile's are widened once and then multiplied from the first-level
// cache, a decoding query's are used once and widened on the way. With matrix tiles nothing differs.

#include "server/model/kernels/attention_kernel.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "server/model/kernels/amx_tiles.h"
#include "server/model/kernels/bf16_products.h"
#include "server/model/kernels/emulated_tiles.h"
#include "server/model/kernels/growing_memory.h"
#include "server/model/kernels/resident_types.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "server/model/kernels/attention_kernel.cc"
#include <hwy/foreach_target.h>  // IWYU pragma: keep
// After foreach_target.h.
#include <hwy/contrib/math/math-inl.h>
#include <hwy/highway.h>

#include "server/model/kernels/attention_block-inl.h"
#include "server/model/kernels/attention_matrix-inl.h"
#include "server/model/kernels/vector_types-inl.h"

#ifndef SHIRA_SERVER_MODEL_KERNELS_ATTENTION_KERNEL_ONCE_
#define SHIRA_SERVER_MODEL_KERNELS_ATTENTION_KERNEL_ONCE_
namespace shira {
namespace {

float* ThreadMemory(int64_t floats) {
  thread_local GrowingMemory memory;
  return memory.Floats(floats);
}

}  // namespace
}  // namespace shira
#endif  // SHIRA_SERVER_MODEL_KERNELS_ATTENTION_KERNEL_ONCE_

HWY_BEFORE_NAMESPACE();
namespace shira::HWY_NAMESPACE {
namespace {

// Queries whose sums stay in registers together: AVX-512 has 32 registers, its elders 16.
constexpr int kMaxRows = HWY_TARGET <= HWY_AVX3 ? 6 : 3;
constexpr int kVectors = 4;  // of positions, or of a value's elements, at a time

// A block widened to fp32.
struct WideBlock {
  const float* keys;    // [head_dim, kBlock]
  const float* values;  // [kBlock, padded_dim]
  int64_t padded_dim;

  HWY_INLINE FloatVector Keys(int64_t k, int64_t position) const {
    return hn::Load(FloatTag(), keys + k * kBlock + position);
  }
  HWY_INLINE FloatVector Values(int64_t position, int64_t k) const {
    return hn::Load(FloatTag(), values + position * padded_dim + k);
  }
  HWY_INLINE void PrefetchKeys(int64_t) const {}
  HWY_INLINE void PrefetchValues(int64_t) const {}
};

// keys, values: room for those of a WideBlock.
template <typename T>
HWY_ATTR WideBlock WidenBlock(const Tile& tile, const PagedBlock<T>& block, int64_t count,
                              float* keys, float* values) {
  const FloatTag d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  for (int64_t k = 0; k < tile.shape.head_dim; ++k) {
    for (int64_t at = 0; at < kBlock; at += lanes) {
      hn::Store(block.Keys(k, at), d, keys + k * kBlock + at);
    }
  }
  for (int64_t at = 0; at < count; ++at) {
    for (int64_t k = 0; k < block.padded_dim; k += lanes) {
      hn::Store(block.Values(at, k), d, values + at * block.padded_dim + k);
    }
  }
  return {.keys = keys, .values = values, .padded_dim = block.padded_dim};
}

// scores[row][i] = query . key of position i, added up in the order of the head's elements.
template <int kRows, typename Block>
HWY_INLINE void Scores(const float* HWY_RESTRICT queries, const Block& block, int64_t head_dim,
                       float (*HWY_RESTRICT scores)[kBlock]) {
  const FloatTag d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  for (int64_t at = 0; at < kBlock; at += kVectors * lanes) {
    FloatVector sums[kRows][kVectors];
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; ++v) sums[r][v] = hn::Zero(d);
    }
    for (int64_t k = 0; k < head_dim; ++k) {
      if (at == 0) block.PrefetchKeys(k);
      FloatVector keys[kVectors];
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; ++v) keys[v] = block.Keys(k, at + v * lanes);
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r) {
        const FloatVector query = hn::Set(d, queries[r * head_dim + k]);
#pragma GCC unroll 8
        for (int v = 0; v < kVectors; ++v) sums[r][v] = hn::MulAdd(query, keys[v], sums[r][v]);
      }
    }
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; ++v) hn::Store(sums[r][v], d, scores[r] + at + v * lanes);
    }
  }
}

// part = part * keep + (sum of weights[i] * values[i] over positions [first, count)) * take, for
// elements [k, k + kWidth * lanes).
template <int kRows, int kWidth, typename Block>
HWY_INLINE void AddValues(const float (*HWY_RESTRICT weights)[kBlock], const Block& block,
                          int64_t k, int64_t first, int64_t count, const Merge* merges,
                          float* HWY_RESTRICT parts, int64_t part_size) {
  const FloatTag d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  FloatVector sums[kRows][kWidth];
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
    for (int v = 0; v < kWidth; ++v) sums[r][v] = hn::Zero(d);
  }
  for (int64_t i = first; i < count; ++i) {
    if (k == 0) block.PrefetchValues(i);
    FloatVector values[kWidth];
#pragma GCC unroll 8
    for (int v = 0; v < kWidth; ++v) values[v] = block.Values(i, k + v * lanes);
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
      const FloatVector weight = hn::Set(d, weights[r][i]);
#pragma GCC unroll 8
      for (int v = 0; v < kWidth; ++v) sums[r][v] = hn::MulAdd(weight, values[v], sums[r][v]);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
    const FloatVector keep = hn::Set(d, merges[r].keep);
    const FloatVector take = hn::Set(d, merges[r].take);
#pragma GCC unroll 8
    for (int v = 0; v < kWidth; ++v) {
      float* to = parts + r * part_size + k + v * lanes;
      hn::Store(hn::MulAdd(hn::Load(d, to), keep, hn::Mul(sums[r][v], take)), d, to);
    }
  }
}

// One block for kRows queries that all see its positions [first, count) and no others.
template <int kRows, typename Block>
HWY_ATTR void AttendRows(const AttentionShape& shape, const float* queries, const Block& block,
                         int64_t first, int64_t count, float* parts) {
  const int64_t lanes = static_cast<int64_t>(FloatLanes());
  const int64_t part_size = AttentionPartSize(shape);
  const int64_t padded_dim = block.padded_dim;
  HWY_ALIGN float scores[kRows][kBlock];
  Scores<kRows>(queries, block, shape.head_dim, scores);
  HWY_ALIGN float before[16] = {};
  HWY_ALIGN float maxima[16] = {};
  float sums[kRows];
  Merge merges[kRows];
  for (int r = 0; r < kRows; ++r) {
    before[r] = parts[r * part_size + padded_dim + 1];
    Weights(shape, first, count, scores[r], sums[r], maxima[r]);
  }
  MergeMaxima<kRows>(before, maxima, merges);
  for (int r = 0; r < kRows; ++r) {
    float* totals = parts + r * part_size + padded_dim;
    totals[0] = totals[0] * merges[r].keep + sums[r] * merges[r].take;
    totals[1] = before[r];
  }
  int64_t k = 0;
  for (; k + kVectors * lanes <= padded_dim; k += kVectors * lanes) {
    AddValues<kRows, kVectors>(scores, block, k, first, count, merges, parts, part_size);
  }
  for (; k < padded_dim; k += lanes) {
    AddValues<kRows, 1>(scores, block, k, first, count, merges, parts, part_size);
  }
}

template <typename Block>
HWY_ATTR void AttendAll(const AttentionShape& shape, const float* queries, int64_t rows,
                        const Block& block, int64_t first, int64_t count, float* parts) {
  const int64_t part_size = AttentionPartSize(shape);
  const auto next = [&](int64_t done) {
    queries += done * shape.head_dim;
    parts += done * part_size;
    rows -= done;
  };
  for (; rows >= kMaxRows; next(kMaxRows)) {
    AttendRows<kMaxRows>(shape, queries, block, first, count, parts);
  }
  if (kMaxRows > 3 && rows >= 3) {
    AttendRows<3>(shape, queries, block, first, count, parts);
    next(3);
  }
  if (rows >= 2) {
    AttendRows<2>(shape, queries, block, first, count, parts);
    next(2);
  }
  if (rows >= 1) AttendRows<1>(shape, queries, block, first, count, parts);
}

// The blocks of a tile of queries, one after the other, with vectors.
template <typename T>
class VectorBlocks {
 public:
  using Element = T;

  // Floats of scratch for a tile of more than one token.
  static int64_t MemoryFloats(const AttentionShape& shape, int64_t) {
    return 2 * PaddedDim(shape) * kBlock;
  }
  VectorBlocks(const Tile& tile, float* memory) : tile_(tile), memory_(memory) {}

  // Adds the block at position `begin` to what the queries have: parts [rows, part_size].
  HWY_ATTR void Attend(const PagedBlock<T>& paged, int64_t begin, float* parts) {
    const AttentionShape& shape = tile_.shape;
    const AttentionRow& row = tile_.row;
    const int64_t group = shape.queries_per_kv_head();
    const int64_t length = tile_.position(tile_.tokens - 1) + 1;
    const int64_t seen = std::min(kBlock, length - begin);  // by the last token
    if (tile_.tokens == 1) {
      const int64_t first = std::max<int64_t>(row.first_seen(tile_.position(0)) - begin, 0);
      return AttendAll(shape, tile_.queries, group, paged, first, seen, parts);
    }
    const WideBlock wide =
        WidenBlock(tile_, paged, seen, memory_, memory_ + PaddedDim(shape) * kBlock);
    if (tile_.position(0) + 1 >= begin + kBlock && row.first_seen(length - 1) <= begin) {
      return AttendAll(shape, tile_.queries, tile_.rows(), wide, 0, kBlock, parts);
    }
    for (int64_t token = 0; token < tile_.tokens; ++token) {
      const int64_t count = std::min(kBlock, tile_.position(token) + 1 - begin);
      const int64_t first = std::max<int64_t>(row.first_seen(tile_.position(token)) - begin, 0);
      if (count <= first) continue;
      AttendAll(shape, tile_.queries + token * group * shape.head_dim, group, wide, first, count,
                parts + token * group * AttentionPartSize(shape));
    }
  }

 private:
  const Tile& tile_;
  float* const memory_;
};

// The tile's queries over one piece: parts [rows, part_size]. What is read next is `next`.
template <class Blocks>
HWY_ATTR void AttendTilePiece(Blocks& blocks, const Tile& tile, int64_t piece,
                              const BlockPlace* next, float* parts) {
  using T = typename Blocks::Element;
  const AttentionShape& shape = tile.shape;
  const int64_t length = tile.position(tile.tokens - 1) + 1;
  for (int64_t i = 0; i < tile.rows(); ++i)
    Clear(PaddedDim(shape), parts + i * AttentionPartSize(shape));
  const int64_t end = std::min(length, (piece + 1) * kAttentionPiece);
  const int64_t first_seen = tile.row.first_seen(tile.position(0));  // by any token
  int64_t begin = std::max(piece * kAttentionPiece, first_seen / kBlock * kBlock);
  for (; begin < end; begin += kBlock) {
    const BlockPlace place = {&tile.row, tile.kv_head, begin};
    BlockPlace then = {&tile.row, tile.kv_head, begin + kBlock};
    if (then.begin >= end) then = next == nullptr ? place : *next;
    blocks.Attend(BlockAt<T>(shape, place, then), begin, parts);
  }
}

// total += part, both as a block, a piece or the whole leaves it.
HWY_ATTR void AddPart(const AttentionShape& shape, const float* part, float* total) {
  const FloatTag d;
  const int64_t padded_dim = PaddedDim(shape);
  HWY_ALIGN float maximum[16] = {total[padded_dim + 1]};
  HWY_ALIGN const float next[16] = {part[padded_dim + 1]};
  Merge merge;
  MergeMaxima<1>(maximum, next, &merge);
  total[padded_dim + 1] = maximum[0];
  total[padded_dim] = total[padded_dim] * merge.keep + part[padded_dim] * merge.take;
  const FloatVector keep = hn::Set(d, merge.keep);
  const FloatVector take = hn::Set(d, merge.take);
  for (int64_t k = 0; k < padded_dim; k += static_cast<int64_t>(hn::Lanes(d))) {
    hn::Store(hn::MulAdd(hn::Load(d, total + k), keep, hn::Mul(hn::Load(d, part + k), take)), d,
              total + k);
  }
}

// What a query's sums of values are multiplied with, from their maximum and the sum of exponentials.
HWY_ATTR float ShareOf(const AttentionShape& shape, const float* total, const float* sink) {
  const float* totals = total + PaddedDim(shape);
  if (sink == nullptr) return 1.0f / totals[0];
  HWY_ALIGN float maximum[16] = {totals[1]};
  HWY_ALIGN const float score[16] = {*sink};
  Merge merge;
  MergeMaxima<1>(maximum, score, &merge);
  return merge.keep / (totals[0] * merge.keep + merge.take);
}

// The output of one query, a head of a token.
template <typename T>
HWY_ATTR void Finish(const AttentionShape& shape, const AttentionRow& row, int64_t token,
                     int64_t head, const float* total) {
  const FloatTag d;
  const float* sink = row.sinks == nullptr ? nullptr : row.sinks + head;
  const FloatVector share = hn::Set(d, ShareOf(shape, total, sink));
  float* output = row.output + (token * shape.num_heads + head) * shape.head_dim;
  for (int64_t k = 0; k < shape.head_dim; k += static_cast<int64_t>(hn::Lanes(d))) {
    StoreSome(RoundTo<T>(hn::Mul(hn::Load(d, total + k), share)), output + k,
              static_cast<size_t>(shape.head_dim - k));
  }
}

// A prompt's tile over all pieces.
template <class Blocks>
HWY_ATTR void AttendTokens(const AttentionShape& shape, const AttentionRow& row, int64_t kv_head,
                           int64_t first, int64_t tokens) {
  const int64_t group = shape.queries_per_kv_head();
  const int64_t rows = tokens * group;
  const int64_t part_size = AttentionPartSize(shape);
  const int64_t query_floats = RoundUp(rows * shape.head_dim, 16);
  const int64_t block_floats = RoundUp(Blocks::MemoryFloats(shape, rows), 16);
  float* memory = ThreadMemory(query_floats + block_floats + 2 * rows * part_size);
  float* queries = memory;
  float* parts = memory + query_floats + block_floats;
  float* totals = parts + rows * part_size;
  for (int64_t token = 0; token < tokens; ++token) {
    std::copy_n(row.queries + (first + token) * row.query_stride + kv_head * group * shape.head_dim,
                group * shape.head_dim, queries + token * group * shape.head_dim);
  }
  const Tile tile = {.shape = shape,
                     .row = row,
                     .kv_head = kv_head,
                     .first = first,
                     .tokens = tokens,
                     .queries = queries};
  Blocks blocks(tile, memory + query_floats);
  for (int64_t i = 0; i < rows; ++i) Clear(PaddedDim(shape), totals + i * part_size);
  int64_t piece = row.first_seen(tile.position(0)) / kAttentionPiece;
  for (; piece < AttentionPieces(tile.position(tokens - 1) + 1); ++piece) {
    AttendTilePiece(blocks, tile, piece, /*next=*/nullptr, parts);
    for (int64_t i = 0; i < rows; ++i) {
      const int64_t position = tile.position(i / group);
      if (position < piece * kAttentionPiece) continue;
      if (row.first_seen(position) >= (piece + 1) * kAttentionPiece) continue;
      AddPart(shape, parts + i * part_size, totals + i * part_size);
    }
  }
  for (int64_t i = 0; i < rows; ++i) {
    Finish<typename Blocks::Element>(shape, row, first + i / group, kv_head * group + i % group,
                                     totals + i * part_size);
  }
}

// Turns keys into columns; values are a row.
template <typename T>
HWY_ATTR void StoreTokens(const AttentionShape& shape, const float* keys, const float* values,
                          int64_t place, T* layer) {
  const int64_t plane = PlaneElements(shape);
  for (int64_t head = 0; head < shape.num_kv_heads; ++head) {
    T* to_keys = layer + 2 * head * plane + place;
    T* to_values = layer + (2 * head + 1) * plane + place * PaddedDim(shape);
    for (int64_t k = 0; k < shape.head_dim; ++k) {
      to_keys[k * kPageTokens] = FromFloat<T>(keys[head * shape.head_dim + k]);
      to_values[k] = FromFloat<T>(values[head * shape.head_dim + k]);
    }
  }
}

template <class Blocks>
struct BlocksTag {
  using Type = Blocks;
};

// Calls f(BlocksTag<Blocks>()) with the kind for the dtype and the CPU.
template <typename F>
void WithBlocks(DType dtype, F f) {
  if (dtype == DType::kBF16) {
    const Bf16Products chosen = ChosenBf16Products();
    if (chosen == Bf16Products::kTiles) return f(BlocksTag<MatrixBlocks<AmxTiles>>());
    if (chosen == Bf16Products::kEmulatedTiles) return f(BlocksTag<MatrixBlocks<EmulatedTiles>>());
  }
  WithResidentType(dtype, [&]<typename T>(T) { f(BlocksTag<VectorBlocks<T>>()); });
}

void TileTyped(const AttentionShape& shape, const AttentionRow& row, int64_t kv_head, int64_t first,
               int64_t tokens) {
  WithBlocks(shape.dtype, [&](auto tag) {
    AttendTokens<typename decltype(tag)::Type>(shape, row, kv_head, first, tokens);
  });
}

// One piece of a decoding query: parts [group, part_size].
void PieceTyped(const AttentionShape& shape, const RowPiece& piece, const RowPiece* next,
                float* parts) {
  const Tile tile = {
      .shape = shape,
      .row = *piece.row,
      .kv_head = piece.kv_head,
      .first = 0,
      .tokens = 1,
      .queries = piece.row->queries + piece.kv_head * shape.queries_per_kv_head() * shape.head_dim};
  BlockPlace then = {};
  if (next != nullptr) then = {next->row, next->kv_head, next->begin()};
  WithBlocks(shape.dtype, [&](auto tag) {
    using Blocks = typename decltype(tag)::Type;
    Blocks blocks(tile, ThreadMemory(Blocks::MemoryFloats(shape, tile.rows())));
    AttendTilePiece(blocks, tile, piece.piece, next == nullptr ? nullptr : &then, parts);
  });
}

// Adds up a decoding query's pieces in order. parts: [pieces, group, part_size].
void FinishTyped(const AttentionShape& shape, const AttentionRow& row, int64_t kv_head,
                 const float* parts) {
  const int64_t group = shape.queries_per_kv_head();
  const int64_t part_size = AttentionPartSize(shape);
  float* total = ThreadMemory(part_size);
  for (int64_t i = 0; i < group; ++i) {
    Clear(PaddedDim(shape), total);
    int64_t piece = row.first_seen(row.start) / kAttentionPiece;
    for (; piece < AttentionPieces(row.start + 1); ++piece) {
      AddPart(shape, parts + (piece * group + i) * part_size, total);
    }
    WithResidentType(shape.dtype, [&]<typename T>(T) {
      Finish<T>(shape, row, /*token=*/0, kv_head * group + i, total);
    });
  }
}

void StoreTyped(const AttentionShape& shape, const float* keys, const float* values, int64_t place,
                std::byte* layer) {
  WithResidentType(shape.dtype, [&]<typename T>(T) {
    StoreTokens<T>(shape, keys, values, place, reinterpret_cast<T*>(layer));
  });
}

}  // namespace
}  // namespace shira::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace shira {

HWY_EXPORT(TileTyped);
HWY_EXPORT(PieceTyped);
HWY_EXPORT(FinishTyped);
HWY_EXPORT(StoreTyped);

int64_t AttentionTileTokens(const AttentionShape& shape) {
  return shape.dtype == DType::kBF16 && UsesTiles(ChosenBf16Products()) ? 32 : 16;
}

int64_t AttentionPartSize(const AttentionShape& shape) { return PaddedDim(shape) + 16; }

int64_t LayerBytesOfPage(const AttentionShape& shape) {
  return 2 * shape.num_kv_heads * PlaneElements(shape) *
         static_cast<int64_t>(DTypeSize(shape.dtype));
}

void StoreInPage(const AttentionShape& shape, const float* keys, const float* values, int64_t place,
                 std::byte* layer) {
  HWY_DYNAMIC_DISPATCH(StoreTyped)(shape, keys, values, place, layer);
}

void AttendTile(const AttentionShape& shape, const AttentionRow& row, int64_t kv_head,
                int64_t first, int64_t tokens) {
  HWY_DYNAMIC_DISPATCH(TileTyped)(shape, row, kv_head, first, tokens);
}

void AttendPiece(const AttentionShape& shape, const RowPiece& piece, const RowPiece* next,
                 float* parts) {
  HWY_DYNAMIC_DISPATCH(PieceTyped)(shape, piece, next, parts);
}

void FinishPieces(const AttentionShape& shape, const AttentionRow& row, int64_t kv_head,
                  const float* parts) {
  HWY_DYNAMIC_DISPATCH(FinishTyped)(shape, row, kv_head, parts);
}

}  // namespace shira
#endif  // HWY_ONCE
