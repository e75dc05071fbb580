// File: server/model/kernels/linear_call.h
//
// How one call of Linear() is cut: activations into tiles of rows, weights into blocks of rows. A
// part of linear.cc.

#ifndef SHIRA_SERVER_MODEL_KERNELS_LINEAR_CALL_H_
#define SHIRA_SERVER_MODEL_KERNELS_LINEAR_CALL_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "absl/types/span.h"
#include "base/dtype.h"
#include "server/model/kernels/linear.h"
#include "server/model/kernels/tile_product.h"
#include "server/model/kernels/weight_patch.h"

namespace shira {

// Packed columns are padded with zeros to a multiple of every kind of products' step.
inline constexpr int64_t kMaxStep = 32;
// Weight rows that are multiplied at a time, and the most of a block,
inline constexpr int64_t kTileOuts = 4;
inline constexpr int64_t kMaxBlockOuts = 16;
// and with matrix tiles.
inline constexpr int64_t kTwoTileOuts = 2 * kTileSide;
// The copy of a block that is patched: a row of kMaxPatchedColumns fits.
inline constexpr int64_t kCopyBytes = kMaxPatchedColumns * sizeof(float);
// Weight rows of a block take about so much of the first-level cache,
inline constexpr int64_t kBlockBytes = 24 << 10;
// the columns of a tile of activations that are multiplied at a time as much,
inline constexpr int64_t kColumnsBytes = 36 << 10;
// and activations that meet the weights together so much of the second-level cache.
inline constexpr int64_t kPanelBytes = 512 << 10;
// With matrix tiles a block that is not patched may take so much of it.
inline constexpr int64_t kTileBlockBytes = 256 << 10;

// Columns that are multiplied at a time, of `in`: as few parts as are needed, of nearly equal size,
// a multiple of kMaxStep. column_bytes: of a column of a tile of activations.
constexpr int64_t ColumnsAtOnce(int64_t in, int64_t column_bytes) {
  const int64_t parts = (in * column_bytes + kColumnsBytes - 1) / kColumnsBytes;
  const int64_t columns = (in + parts - 1) / parts;
  return (columns + kMaxStep - 1) / kMaxStep * kMaxStep;
}

// Rows of activations that may be one tile.
inline constexpr int64_t kMaxDecodeRows = 8;

struct LinearCall {
  uint64_t number;  // of the call: no two have the same
  const LinearWeight& weight;
  bool tiles;  // matrix tiles multiply
  absl::Span<const RowGroup> groups;
  const float* x;  // [rows, in]
  // [rows, padded_in], tile after tile, of the kind of products that is used; null where every
  // thread packs for itself.
  std::byte* packed;
  float* y;  // [rows, out]

  int64_t rows() const { return groups.empty() ? 0 : groups.back().end; }
  int64_t padded_in() const { return (weight.in + kMaxStep - 1) / kMaxStep * kMaxStep; }

  bool patched() const {
    return std::any_of(groups.begin(), groups.end(),
                       [](const RowGroup& group) { return !group.patches.empty(); });
  }

  // One tile, as in decoding: each weight meets it once and need not stay in a cache.
  bool lone_tile() const { return groups.size() == 1 && rows() <= kMaxDecodeRows && !patched(); }

  // Weight rows of which every part of the loop but the last has a multiple: whole blocks where they
  // are patched, as index tables are cut into such blocks, too.
  int64_t out_unit() const { return patched() ? block_outs() : tiles ? kTwoTileOuts : kTileOuts; }

  // Weight rows of a block, a power of two: as many as the first-level cache can keep beside a tile
  // of activations, or more where it is the activations that should stay there.
  int64_t block_outs() const {
    const int64_t row_bytes = weight.in * static_cast<int64_t>(DTypeSize(weight.dtype));
    int64_t outs = kMaxBlockOuts;
    if (tiles) {
      if (!patched()) outs = kMaxTileOuts;
      while (outs > kTileSide && outs * row_bytes > kTileBlockBytes) outs /= 2;
    } else {
      const int64_t bytes = lone_tile() ? 4 * kBlockBytes : kBlockBytes;
      while (outs > kTileOuts && outs * row_bytes > bytes) outs /= 2;
    }
    while (outs > 1 && outs * row_bytes > kCopyBytes) outs /= 2;
    return outs;
  }
};

// Some weight rows, from wherever they are multiplied.
template <typename T>
struct WeightBlock {
  int64_t first_out;
  int64_t outs;  // at most kMaxBlockOuts, with matrix tiles kMaxTileOuts
  int64_t in;
  const T* weights;  // [outs, in]
};

// The tiles of a group of rows: as few as are needed.
class RowTiles {
 public:
  // Of nearly equal size: at most max_rows rows, or max_lone_rows if it is the group's only one.
  static RowTiles Even(const RowGroup& group, int64_t max_rows, int64_t max_lone_rows) {
    const int64_t rows = group.end - group.begin;
    const int64_t tiles = rows > 0 && rows <= max_lone_rows ? 1 : (rows + max_rows - 1) / max_rows;
    return RowTiles(group, tiles, /*tile_rows=*/0);
  }
  // Of so many rows, and a last one of what is left.
  static RowTiles Full(const RowGroup& group, int64_t tile_rows) {
    return RowTiles(group, (group.end - group.begin + tile_rows - 1) / tile_rows, tile_rows);
  }

  int64_t tiles() const { return tiles_; }
  // Where tile i begins, and the one before ends.
  int64_t begin(int64_t i) const {
    return begin_ + (tile_rows_ > 0 ? std::min(tile_rows_ * i, rows_) : rows_ * i / tiles_);
  }

  // Calls visit(first row, rows) for the tiles that begin in [begin, end).
  template <typename Visit>
  void ForEach(int64_t begin, int64_t end, Visit visit) const {
    for (int64_t i = 0; i < tiles_; ++i) {
      const int64_t first = this->begin(i);
      if (first >= begin && first < end) visit(first, this->begin(i + 1) - first);
    }
  }

  int64_t Count(int64_t begin, int64_t end) const {
    int64_t count = 0;
    ForEach(begin, end, [&](int64_t, int64_t) { ++count; });
    return count;
  }

 private:
  RowTiles(const RowGroup& group, int64_t tiles, int64_t tile_rows)
      : begin_(group.begin), rows_(group.end - group.begin), tiles_(tiles), tile_rows_(tile_rows) {}

  const int64_t begin_;
  const int64_t rows_;
  const int64_t tiles_;
  const int64_t tile_rows_;  // 0: of nearly equal size
};

}  // namespace shira

#endif  // SHIRA_SERVER_MODEL_KERNELS_LINEAR_CALL_H_
