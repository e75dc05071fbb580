// The weight rows of a thread's part are taken in blocks that fit the first-level cache. A block
// meets a tile of activation rows after the other, weight rows four at a time; patched groups
// multiply a copy of the block on the stack, which is patched as a whole before it is read: loads
// that follow a narrower store to their cache line wait for it.

#include "server/model/kernels/linear.h"

#include <algorithm>
#include <cstddef>

#include "server/model/kernels/bf16_dot.h"
#include "server/model/kernels/resident_types.h"

// Register tiles are arrays of vectors, which vectors of a size unknown to the compiler cannot
// form.
#define HWY_DISABLED_TARGETS (HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128 | HWY_RVV)
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "server/model/kernels/linear.cc"
#include <hwy/foreach_target.h>  // IWYU pragma: keep
// After foreach_target.h.
#include <hwy/highway.h>

#include "server/model/kernels/linear_tile-inl.h"

#ifndef SHIRA_SERVER_MODEL_KERNELS_LINEAR_ONCE_
#define SHIRA_SERVER_MODEL_KERNELS_LINEAR_ONCE_
namespace shira {
namespace {

// Packed columns are padded to the largest step.
constexpr int64_t kPaddedStep = 32;

// Weight rows of a block: as many as take this much of the first-level cache, at least one tile.
constexpr int64_t kBlockBytes = 24 << 10;
constexpr int64_t kTileOuts = 4;
constexpr int64_t kMaxBlockRows = 16;
// The copy of a block that is patched; a row of kMaxPatchedColumns fits.
constexpr int64_t kCopyBytes = kMaxPatchedColumns * sizeof(float);
// Activations that are multiplied with all weights before the next ones: of the second-level cache.
constexpr int64_t kPanelBytes = 512 << 10;
// From this many rows on, packing them is worth starting the threads.
constexpr int64_t kParallelPackRows = 32;

int64_t PaddedColumns(int64_t in) { return (in + kPaddedStep - 1) / kPaddedStep * kPaddedStep; }

struct LinearCall {
  const LinearWeight& weight;
  absl::Span<const RowGroup> groups;
  const float* x;     // [rows, in]
  std::byte* packed;  // [rows, padded_in], of the kind of products that is used
  int64_t padded_in;
  float* y;  // [rows, out]

  int64_t rows() const { return groups.empty() ? 0 : groups.back().end; }
  size_t element_bytes() const { return DTypeSize(weight.dtype); }
  bool patched() const {
    return std::any_of(groups.begin(), groups.end(),
                       [](const RowGroup& group) { return !group.patches.empty(); });
  }
  int64_t block_rows() const {
    const int64_t row_bytes = weight.in * static_cast<int64_t>(element_bytes());
    int64_t rows = kMaxBlockRows;
    while (rows > kTileOuts && rows * row_bytes > kBlockBytes) rows /= 2;
    while (rows > 1 && rows * row_bytes > kCopyBytes) rows /= 2;
    return rows;
  }
};

// Weight rows [begin, end), from wherever they are multiplied.
template <typename T>
struct Block {
  int64_t begin;
  int64_t end;
  const T* weights;  // [end - begin, in]
};

}  // namespace
}  // namespace shira
#endif  // SHIRA_SERVER_MODEL_KERNELS_LINEAR_ONCE_

SHIRA_TILE_BEFORE_NAMESPACE();
namespace shira::HWY_NAMESPACE {
namespace {

// Adds the bias, rounds and stores: sums [kRows][kOuts] to y from (row, out) on.
template <typename T, int kOuts, int kRows>
HWY_INLINE void StoreOutputs(const LinearCall& call, const float* sums, int64_t row, int64_t out) {
  const T* bias = static_cast<const T*>(call.weight.bias);
  float* y = call.y + row * call.weight.out + out;
  for (int r = 0; r < kRows; ++r, sums += kOuts, y += call.weight.out) {
    if constexpr (kOuts % 4 == 0) {
      const hn::CappedTag<float, 4> d;
      for (size_t o = 0; o < kOuts; o += hn::Lanes(d)) {
        auto sum = hn::LoadU(d, sums + o);
        if (bias != nullptr) {
          float wide[4];
          for (size_t i = 0; i < hn::Lanes(d); ++i) wide[i] = ToFloat(bias[out + o + i]);
          sum = hn::Add(sum, hn::LoadU(d, wide));
        }
        hn::StoreU(RoundTo<T>(sum), d, y + o);
      }
    } else {
      for (int o = 0; o < kOuts; ++o) {
        const float wide = bias == nullptr ? 0.0f : ToFloat(bias[out + o]);
        y[o] = ToFloat(FromFloat<T>(sums[o] + wide));
      }
    }
  }
}

template <class Products, int kOuts, int kRows>
HWY_INLINE void TileOutputs(const LinearCall& call, const typename Products::Weight* weights,
                            const typename Products::Activation* x, int64_t row, int64_t out) {
  float sums[kRows * kOuts];
  Tile<Products, kOuts, kRows>(weights, call.weight.in, x, call.padded_in, call.weight.in, sums);
  StoreOutputs<typename Products::Weight, kOuts, kRows>(call, sums, row, out);
}

// A block against kRows rows of activations from `row` on.
template <class Products, int kRows>
HWY_ATTR void MultiplyTiles(const LinearCall& call, const Block<typename Products::Weight>& block,
                            int64_t row) {
  const auto* x =
      reinterpret_cast<const typename Products::Activation*>(call.packed) + row * call.padded_in;
  const auto* weights = block.weights;
  int64_t out = block.begin;
  for (; out + kTileOuts <= block.end; out += kTileOuts, weights += kTileOuts * call.weight.in) {
    TileOutputs<Products, kTileOuts, kRows>(call, weights, x, row, out);
  }
  for (; out < block.end; ++out, weights += call.weight.in) {
    for (int r = 0; r < kRows; ++r) {
      TileOutputs<Products, 1, 1>(call, weights, x + r * call.padded_in, row + r, out);
    }
  }
}

// A block against rows [begin, end) of activations, in tiles of nearly equal size.
template <class Products>
HWY_ATTR void Multiply(const LinearCall& call, const Block<typename Products::Weight>& block,
                       int64_t begin, int64_t end) {
  int64_t tiles = (end - begin + kMaxTileRows - 1) / kMaxTileRows;
  for (; tiles > 0; --tiles) {
    const int64_t rows = (end - begin + tiles - 1) / tiles;
    switch (rows) {
      case 1:
        MultiplyTiles<Products, 1>(call, block, begin);
        break;
      case 2:
        MultiplyTiles<Products, 2>(call, block, begin);
        break;
      case 3:
        MultiplyTiles<Products, 3>(call, block, begin);
        break;
      case 4:
        MultiplyTiles<Products, std::min(4, kMaxTileRows)>(call, block, begin);
        break;
      case 5:
        MultiplyTiles<Products, std::min(5, kMaxTileRows)>(call, block, begin);
        break;
      default:
        MultiplyTiles<Products, kMaxTileRows>(call, block, begin);
        break;
    }
    begin += rows;
  }
}

// The copy of a block, patched for one group after the other.
template <typename T>
class PatchedBlock {
 public:
  PatchedBlock(const Block<T>& memory, int64_t in, T* copy)
      : memory_(memory),
        in_(in),
        copy_(copy),
        rows_{.first_row = memory.begin,
              .end_row = memory.end,
              .copy = reinterpret_cast<std::byte*>(copy),
              .memory = reinterpret_cast<const std::byte*>(memory.weights),
              .element_bytes = sizeof(T)} {}

  Block<T> With(absl::Span<const WeightPatch> patches) {
    if (applied_.empty()) {
      std::copy_n(memory_.weights, (memory_.end - memory_.begin) * in_, copy_);
    } else if (!SamePositions(applied_, patches)) {
      RevertPatches(applied_, rows_);
    }
    ApplyPatches(patches, rows_);
    applied_ = patches;
    return {memory_.begin, memory_.end, copy_};
  }

 private:
  const Block<T> memory_;
  const int64_t in_;
  T* const copy_;
  const WeightRows rows_;
  absl::Span<const WeightPatch> applied_;  // what the copy has
};

// Rows [begin, end) of activations against weight rows [out_begin, out_end).
template <class Products>
HWY_ATTR void MultiplyPanel(const LinearCall& call, int64_t begin, int64_t end, int64_t out_begin,
                            int64_t out_end, typename Products::Weight* copy) {
  using T = typename Products::Weight;
  const int64_t block_rows = call.block_rows();
  for (int64_t out = out_begin; out < out_end; out += block_rows) {
    const Block<T> memory = {out, std::min(out + block_rows, out_end),
                             static_cast<const T*>(call.weight.data) + out * call.weight.in};
    PatchedBlock<T> patched(memory, call.weight.in, copy);
    for (const RowGroup& group : call.groups) {
      const int64_t group_begin = std::max(group.begin, begin);
      const int64_t group_end = std::min(group.end, end);
      if (group_begin >= group_end) continue;
      Multiply<Products>(call, group.patches.empty() ? memory : patched.With(group.patches),
                         group_begin, group_end);
    }
  }
}

template <class Products>
HWY_ATTR void OutputRange(const LinearCall& call, int64_t out_begin, int64_t out_end) {
  alignas(64) std::byte copy[kCopyBytes];  // touched only where blocks are patched
  const int64_t row_bytes =
      call.padded_in * static_cast<int64_t>(sizeof(typename Products::Activation));
  const int64_t panel = std::max<int64_t>(kPanelBytes / row_bytes, kMaxTileRows);
  for (int64_t row = 0; row < call.rows(); row += panel) {
    MultiplyPanel<Products>(call, row, std::min(row + panel, call.rows()), out_begin, out_end,
                            reinterpret_cast<typename Products::Weight*>(copy));
  }
}

template <class Products>
HWY_ATTR void PackRange(const LinearCall& call, int64_t begin, int64_t end) {
  auto* packed = reinterpret_cast<typename Products::Activation*>(call.packed);
  for (int64_t row = begin; row < end; ++row) {
    PackRow<Products>(call.x + row * call.weight.in, call.weight.in, call.padded_in,
                      packed + row * call.padded_in);
  }
}

// Calls f(Products()) with the kind for the dtype and the CPU.
template <typename F>
void WithProducts(DType dtype, F f) {
#if SHIRA_BF16_DOT
  if (dtype == DType::kBF16 && UseBf16Dot()) return f(Bf16Dot());
#endif
  WithResidentType(dtype, [&]<typename T>(T) { f(FloatProducts<T>()); });
}

void Pack(const LinearCall& call, int64_t begin, int64_t end) {
  WithProducts(call.weight.dtype, [&]<class P>(P) { PackRange<P>(call, begin, end); });
}

void Outputs(const LinearCall& call, int64_t begin, int64_t end) {
  WithProducts(call.weight.dtype, [&]<class P>(P) { OutputRange<P>(call, begin, end); });
}

}  // namespace
}  // namespace shira::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace shira {

HWY_EXPORT(Pack);
HWY_EXPORT(Outputs);

int64_t LinearScratchBytes(int64_t rows, int64_t in) {
  return rows * PaddedColumns(in) * static_cast<int64_t>(sizeof(float));
}

void Linear(const LinearWeight& weight, const float* x, absl::Span<const RowGroup> groups, float* y,
            std::byte* scratch, const ParallelFor& parallel_for) {
  const LinearCall call = {.weight = weight,
                           .groups = groups,
                           .x = x,
                           .packed = scratch,
                           .padded_in = PaddedColumns(weight.in),
                           .y = y};
  const auto pack = HWY_DYNAMIC_DISPATCH(Pack);
  if (call.rows() < kParallelPackRows) {
    pack(call, 0, call.rows());
  } else {
    parallel_for(call.rows(), [&](int64_t begin, int64_t end) { pack(call, begin, end); });
  }
  // Parts of whole blocks where blocks are patched: index tables are cut into such blocks, too.
  const int64_t unit = call.patched() ? call.block_rows() : kTileOuts;
  const auto outputs = HWY_DYNAMIC_DISPATCH(Outputs);
  parallel_for((weight.out + unit - 1) / unit, [&](int64_t begin, int64_t end) {
    outputs(call, begin * unit, std::min(end * unit, weight.out));
  });
}

}  // namespace shira
#endif  // HWY_ONCE
