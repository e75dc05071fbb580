// The weight rows of a thread's part are taken in blocks that fit the first-level cache. A block
// meets a tile of activation rows after the other, weight rows a few at a time; patched groups
// multiply a copy of the block on the stack, which is patched as a whole before it is read: loads
// that follow a narrower store to their cache line wait for it. Processors with matrix tiles take
// larger blocks where these are not copied.

#include "server/model/kernels/linear.h"

#include <algorithm>
#include <atomic>
#include <cstddef>

#include "server/model/kernels/amx_tiles.h"
#include "server/model/kernels/bf16_products.h"
#include "server/model/kernels/emulated_tiles.h"
#include "server/model/kernels/growing_memory.h"
#include "server/model/kernels/linear_call.h"
#include "server/model/kernels/resident_types.h"

// Register tiles are arrays of vectors, which vectors of a size unknown to the compiler cannot
// form.
#define HWY_DISABLED_TARGETS (HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128 | HWY_RVV)
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "server/model/kernels/linear.cc"
#include <hwy/foreach_target.h>  // IWYU pragma: keep
// After foreach_target.h.
#include <hwy/highway.h>

#include "server/model/kernels/linear_matrix_tile-inl.h"
#include "server/model/kernels/linear_tile-inl.h"

#ifndef SHIRA_SERVER_MODEL_KERNELS_LINEAR_ONCE_
#define SHIRA_SERVER_MODEL_KERNELS_LINEAR_ONCE_
namespace shira {
namespace {

// Few activations are packed by each thread for itself: what another one has packed would have to
// come from its cache, line by line.
struct OwnPack {
  uint64_t call = 0;  // whose activations it has
  GrowingMemory memory;
};

OwnPack& ThreadPack() {
  thread_local OwnPack pack;
  return pack;
}

}  // namespace
}  // namespace shira
#endif  // SHIRA_SERVER_MODEL_KERNELS_LINEAR_ONCE_

SHIRA_TILE_BEFORE_NAMESPACE();
namespace shira::HWY_NAMESPACE {
namespace {

// Tiles of many rows pay where they save reading weights from memory, not from cache again.
template <class Products>
RowTiles TilesOf(const LinearCall& call, const RowGroup& group) {
  if constexpr (kMatrixTiles<Products>) return RowTiles::Full(group, kMaxTileRows<Products>);
  return RowTiles::Even(
      group, kMaxTileRows<Products>,
      call.groups.size() == 1 ? kMaxLoneTileRows<Products> : kMaxTileRows<Products>);
}

// Adds the bias, rounds and stores: sums [rows][kMaxBlockOuts] to y from (row, out) on.
template <typename T>
HWY_INLINE void StoreOutputs(const LinearCall& call, const float* sums, int64_t rows, int64_t row,
                             int64_t out, int64_t outs) {
  const T* bias = static_cast<const T*>(call.weight.bias);
  float* y = call.y + row * call.weight.out + out;
  const int64_t lanes = static_cast<int64_t>(FloatLanes());
  for (int64_t o = 0; o < outs; o += lanes) {
    const FloatVector terms =
        bias == nullptr ? hn::Zero(FloatTag()) : WidenSome(bias + out + o, outs - o);
    for (int64_t r = 0; r < rows; ++r) {
      const FloatVector sum = hn::Add(hn::LoadU(FloatTag(), sums + r * kMaxBlockOuts + o), terms);
      StoreSome(RoundTo<T>(sum), y + r * call.weight.out + o, outs - o);
    }
  }
}

// Some columns of a block against a tile of activations: sums, [kRows][kMaxBlockOuts], and those on
// their way, carry. Takes kOuts weight rows at a time from row o on, and then fewer.
template <class Products, int kRows, int kOuts = OutsAtOnce<Products>(kRows)>
HWY_INLINE void MultiplyOuts(const WeightBlock<typename Products::Weight>& block, int64_t o,
                             const typename Products::Activation* x, const Columns& columns,
                             Ahead& ahead, float* carry, float* sums) {
  for (; o + kOuts <= block.outs; o += kOuts) {
    Tile<Products, kOuts, kRows>(block.weights + o * block.in, block.in, x, columns, ahead,
                                 carry + o * kRows * static_cast<int64_t>(FloatLanes()), sums + o,
                                 kMaxBlockOuts);
  }
  if constexpr (kOuts > 1) {
    MultiplyOuts<Products, kRows, kOuts == 8 ? 4 : 1>(block, o, x, columns, ahead, carry, sums);
  }
}

// Every weight row meets all of a tile's activations, which should come from the first-level cache:
// wide ones are taken in parts.
template <class Products, int kRows>
HWY_NOINLINE void MultiplyTile(const WeightBlock<typename Products::Weight>& block,
                               const typename Products::Activation* x, Ahead ahead, float* sums) {
  HWY_ALIGN float carry[kMaxBlockOuts * kRows * HWY_MAX_BYTES / sizeof(float)];
  const int64_t part = ColumnsAtOnce(block.in, kRows * sizeof(*x));
  for (int64_t begin = 0; begin < block.in; begin += part) {
    const Columns columns = {begin, std::min(begin + part, block.in), block.in};
    MultiplyOuts<Products, kRows>(block, 0, x, columns, ahead, carry, sums);
  }
}

// The same for a number of rows that the compiler does not know, 1 to kRows.
template <class Products, int kRows = kMaxLoneTileRows<Products>>
HWY_INLINE void MultiplyTileOf(int64_t rows, const WeightBlock<typename Products::Weight>& block,
                               const typename Products::Activation* x, Ahead ahead, float* sums) {
  if constexpr (kRows > 1) {
    if (rows < kRows) return MultiplyTileOf<Products, kRows - 1>(rows, block, x, ahead, sums);
  }
  MultiplyTile<Products, kRows>(block, x, ahead, sums);
}

// Tiles of activations that meet the weights together, while they are in the second-level cache.
struct Panel {
  int64_t begin;  // rows: of the tiles that begin in [begin, end)
  int64_t end;
  int64_t tiles;
};

// A block against a tile of activations that begins in row `row`: their outputs. Fetches some of the
// next block.
template <class Products>
HWY_ATTR void MultiplyRows(const LinearCall& call,
                           const WeightBlock<typename Products::Weight>& block, int64_t row,
                           int64_t rows, const typename Products::Activation* x, const char* next,
                           int64_t fetch_bytes, VectorUnit<Products>&) {
  const int64_t steps = std::max<int64_t>(block.outs / OutsAtOnce<Products>(rows), 1) *
                        std::max<int64_t>(block.in / Products::Step(), 1);
  HWY_ALIGN float sums[kMaxLoneTileRows<Products> * kMaxBlockOuts];
  MultiplyTileOf<Products>(rows, block, x, Ahead::Of(next, fetch_bytes, steps), sums);
  StoreOutputs<typename Products::Weight>(call, sums, rows, row, block.first_out, block.outs);
}

// The same with matrix tiles.
template <class Tiles>
HWY_ATTR void MultiplyRows(const LinearCall& call, const WeightBlock<BFloat16>& block, int64_t row,
                           int64_t rows, const BFloat16* x, const char* next, int64_t fetch_bytes,
                           MatrixUnit<Tiles>& unit) {
  HWY_ALIGN float sums[kTileSums];
  HWY_ALIGN float turned[kTileSide * kTileSide];
  for (const int64_t end = row + rows; row < end;) {
    TileProduct product = {.weights = block.weights,
                           .outs = block.outs,
                           .in = block.in,
                           .packed = x,
                           .rows = std::min(end - row, kTileSide),
                           .tiles = end - row == 2 * kTileSide ? 2 : 1,
                           .ahead = next,
                           .ahead_bytes = fetch_bytes};
    unit.tiles.Multiply(product, sums);
    fetch_bytes = 0;
    for (int64_t tile = 0; tile < product.tiles; ++tile) {
      for (int64_t o = 0; o < block.outs; o += kTileSide) {
        const float* from = sums + tile * kMaxTileOuts * kTileSide + o * SumStride(product.rows);
        if (product.rows > 1) {
          Turn(from, turned);
          from = turned;
        }
        StoreOutputs<BFloat16>(call, from, product.rows, row, block.first_out + o,
                               std::min(block.outs - o, kTileSide));
      }
      row += product.rows;
      x += product.rows * call.padded_in();
    }
  }
}

// A block against the tiles of a group in a panel, which fetch their part of the next block.
template <class Products>
HWY_ATTR void MultiplyGroup(const LinearCall& call,
                            const WeightBlock<typename Products::Weight>& block,
                            const RowTiles& tiles, const Panel& panel,
                            const typename Products::Activation* packed, const char*& next,
                            typename Products::Unit& unit) {
  const int64_t fetch_bytes =
      block.outs * block.in * static_cast<int64_t>(sizeof(*block.weights)) / panel.tiles;
  tiles.ForEach(panel.begin, panel.end, [&](int64_t row, int64_t rows) {
    MultiplyRows(call, block, row, rows, packed + row * call.padded_in(), next, fetch_bytes, unit);
    next += fetch_bytes;
  });
}

// A panel against weight rows [out_begin, out_end).
template <class Products>
HWY_ATTR void MultiplyPanel(const LinearCall& call, const Panel& panel, int64_t out_begin,
                            int64_t out_end, const typename Products::Activation* packed,
                            typename Products::Weight* copy, typename Products::Unit& unit) {
  using T = typename Products::Weight;
  const int64_t block_outs = call.block_outs();
  for (int64_t out = out_begin; out < out_end; out += block_outs) {
    const WeightBlock<T> memory = {out, std::min(block_outs, out_end - out), call.weight.in,
                                   static_cast<const T*>(call.weight.data) + out * call.weight.in};
    PatchedRows patched({.first_row = memory.first_out,
                         .end_row = memory.first_out + memory.outs,
                         .cols = memory.in,
                         .element_bytes = sizeof(T),
                         .memory = reinterpret_cast<const std::byte*>(memory.weights),
                         .copy = reinterpret_cast<std::byte*>(copy)});
    const char* next = reinterpret_cast<const char*>(memory.weights + memory.outs * memory.in);
    for (const RowGroup& group : call.groups) {
      const RowTiles tiles = TilesOf<Products>(call, group);
      if (tiles.Count(panel.begin, panel.end) == 0) continue;
      WeightBlock<T> block = memory;
      if (!group.patches.empty()) {
        patched.Put(group.patches);
        block.weights = copy;
      }
      MultiplyGroup<Products>(call, block, tiles, panel, packed, next, unit);
    }
  }
}

template <class Products>
HWY_INLINE void PackRows(const float* x, int64_t rows, int64_t in, int64_t padded_in, Ahead& ahead,
                         typename Products::Activation* packed) {
  if constexpr (kMatrixTiles<Products>) {
    for (int64_t row = 0; row < rows; row += kTileSide) {
      PackMatrixTile(x + row * in, std::min(rows - row, kTileSide), in, padded_in, ahead,
                     packed + row * padded_in);
    }
  } else {
    PackTile<Products>(x, rows, in, padded_in, ahead, packed);
  }
}

// Packs the tiles that begin in rows [begin, end).
template <class Products>
HWY_ATTR void PackRange(const LinearCall& call, int64_t begin, int64_t end, Ahead ahead,
                        typename Products::Activation* packed) {
  for (const RowGroup& group : call.groups) {
    TilesOf<Products>(call, group).ForEach(begin, end, [&](int64_t row, int64_t rows) {
      PackRows<Products>(call.x + row * call.weight.in, rows, call.weight.in, call.padded_in(),
                         ahead, packed + row * call.padded_in());
    });
  }
}

// All packed activations. The weights from row `out` on, which are needed next, come into the cache
// while they are packed.
template <class Products>
HWY_ATTR const typename Products::Activation* PackedFor(const LinearCall& call, int64_t out) {
  using Activation = typename Products::Activation;
  if (call.packed != nullptr) return reinterpret_cast<const Activation*>(call.packed);
  OwnPack& own = ThreadPack();
  auto* packed = reinterpret_cast<Activation*>(own.memory.Floats(call.rows() * call.padded_in()));
  if (own.call == call.number) return packed;
  using T = typename Products::Weight;
  const int64_t bytes = call.block_outs() * call.weight.in * static_cast<int64_t>(sizeof(T));
  const int64_t steps = std::max<int64_t>(call.weight.in / Products::Step(), 1) * call.rows();
  const Ahead ahead =
      Ahead::Of(static_cast<const T*>(call.weight.data) + out * call.weight.in, bytes, steps);
  PackRange<Products>(call, 0, call.rows(), ahead, packed);
  own.call = call.number;
  return packed;
}

template <class Products>
HWY_ATTR void OutputRange(const LinearCall& call, int64_t out_begin, int64_t out_end) {
  alignas(64) std::byte copy[kCopyBytes];  // touched only where blocks are patched
  typename Products::Unit unit;
  const auto* packed = PackedFor<Products>(call, out_begin);
  const int64_t row_bytes =
      call.padded_in() * static_cast<int64_t>(sizeof(typename Products::Activation));
  const int64_t panel_rows = std::max<int64_t>(kPanelBytes / row_bytes, kMaxTileRows<Products>);
  for (int64_t row = 0; row < call.rows(); row += panel_rows) {
    Panel panel = {row, std::min(row + panel_rows, call.rows()), 0};
    for (const RowGroup& group : call.groups) {
      panel.tiles += TilesOf<Products>(call, group).Count(panel.begin, panel.end);
    }
    MultiplyPanel<Products>(call, panel, out_begin, out_end, packed,
                            reinterpret_cast<typename Products::Weight*>(copy), unit);
  }
}

// Calls f(Products()) with the kind for the dtype and the CPU.
template <typename F>
void WithProducts(DType dtype, F f) {
  if (dtype == DType::kBF16) {
    const Bf16Products chosen = ChosenBf16Products();
    if (chosen == Bf16Products::kTiles) return f(MatrixProducts<AmxTiles>());
    if (chosen == Bf16Products::kEmulatedTiles) return f(MatrixProducts<EmulatedTiles>());
#if SHIRA_BF16_DOT
    if (chosen == Bf16Products::kDot) return f(Bf16Dot());
#endif
  }
  WithResidentType(dtype, [&]<typename T>(T) { f(FloatProducts<T>()); });
}

void Pack(const LinearCall& call, int64_t begin, int64_t end) {
  WithProducts(call.weight.dtype, [&]<class P>(P) {
    PackRange<P>(call, begin, end, Ahead(), reinterpret_cast<typename P::Activation*>(call.packed));
  });
}

void Outputs(const LinearCall& call, int64_t begin, int64_t end) {
  WithProducts(call.weight.dtype, [&]<class P>(P) { OutputRange<P>(call, begin, end); });
}

}  // namespace
}  // namespace shira::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace shira {

// From this many rows on, the threads pack them together.
constexpr int64_t kParallelPackRows = 32;

HWY_EXPORT(Pack);
HWY_EXPORT(Outputs);

int64_t LinearScratchBytes(int64_t rows, int64_t in) {
  return rows * ((in + kMaxStep - 1) / kMaxStep * kMaxStep) * static_cast<int64_t>(sizeof(float));
}

void Linear(const LinearWeight& weight, const float* x, absl::Span<const RowGroup> groups, float* y,
            std::byte* scratch, const ParallelFor& parallel_for) {
  static std::atomic<uint64_t> calls{0};
  const int64_t rows = groups.empty() ? 0 : groups.back().end;
  const bool together = rows >= kParallelPackRows;
  const Bf16Products products = ChosenBf16Products();
  const LinearCall call = {.number = calls.fetch_add(1, std::memory_order_relaxed) + 1,
                           .weight = weight,
                           .tiles = weight.dtype == DType::kBF16 && UsesTiles(products),
                           .groups = groups,
                           .x = x,
                           .packed = together ? scratch : nullptr,
                           .y = y};
  if (together) {
    const auto pack = HWY_DYNAMIC_DISPATCH(Pack);
    parallel_for(rows, [&](int64_t begin, int64_t end) { pack(call, begin, end); });
  }
  const int64_t unit = call.out_unit();
  const auto outputs = HWY_DYNAMIC_DISPATCH(Outputs);
  parallel_for((weight.out + unit - 1) / unit, [&](int64_t begin, int64_t end) {
    outputs(call, begin * unit, std::min(end * unit, weight.out));
  });
}

}  // namespace shira
#endif  // HWY_ONCE
