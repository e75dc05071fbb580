// The weights are the left operand, where a tile is some rows of 64 bytes anywhere in memory: so
// they stay row-major. Registers 0 to 3 have sums, 4 and 5 weights, 6 and 7 activations.

#include "server/model/kernels/amx_tiles.h"

#include <hwy/detect_compiler_arch.h>

#include <algorithm>
#include <cstring>

#if HWY_ARCH_X86_64 && defined(__linux__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#define SHIRA_AMX 1
#else
#define SHIRA_AMX 0
#endif

namespace shira {

#if SHIRA_AMX
namespace {

#define SHIRA_AMX_ATTR __attribute__((target("amx-tile,amx-bf16")))
#define SHIRA_AMX_INLINE inline __attribute__((always_inline)) SHIRA_AMX_ATTR

// What the instruction ldtilecfg reads.
struct alignas(64) TileConfig {
  uint8_t palette = 1;
  uint8_t start_row = 0;
  uint8_t reserved[14] = {};
  uint16_t row_bytes[16] = {};
  uint8_t rows[16] = {};
};

TileConfig ConfigFor(int64_t activation_rows) {
  TileConfig config;
  const auto bytes = static_cast<uint16_t>(activation_rows * sizeof(float));
  for (int tile = 0; tile < 8; ++tile) {
    config.rows[tile] = kTileSide;
    config.row_bytes[tile] = tile == 4 || tile == 5 ? 64 : bytes;
  }
  return config;
}

// Written out, since the compilers' intrinsics do not say that they read memory.
SHIRA_AMX_ATTR void Configure(const TileConfig& config) {
  asm volatile("ldtilecfg %0" ::"m"(config));
}
SHIRA_AMX_ATTR void Release() { asm volatile("tilerelease" ::: "memory"); }
template <int kTile>
SHIRA_AMX_INLINE void Zero() {
  asm volatile("tilezero %%tmm%c0" ::"i"(kTile));
}
template <int kTile>
SHIRA_AMX_INLINE void Load(const void* from, int64_t stride_bytes) {
  asm volatile("tileloadd (%0,%1,1), %%tmm%c2" ::"r"(from), "r"(stride_bytes), "i"(kTile)
               : "memory");
}
template <int kTile>
SHIRA_AMX_INLINE void Store(float* to, int64_t stride) {
  asm volatile("tilestored %%tmm%c2, (%0,%1,1)" ::"r"(to), "r"(stride * sizeof(float)), "i"(kTile)
               : "memory");
}
template <int kSums, int kWeights, int kActivations>
SHIRA_AMX_INLINE void MultiplyAdd() {
  asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(kSums), "i"(kWeights),
               "i"(kActivations));
}

// A step of weights as the instructions want it, wherever it comes from.
struct WeightStep {
  const BFloat16* weights;
  int64_t stride_bytes;  // from a row to the next
};

// One step: kOutTiles tiles of weights with kTiles of activations.
template <int kOutTiles, int kTiles>
SHIRA_AMX_INLINE void AddStep(const WeightStep& step, const BFloat16* packed, int64_t packed_stride,
                              int64_t tile_elements) {
  const auto* weights = reinterpret_cast<const char*>(step.weights);
  const int64_t tile_bytes = kTileSide * step.stride_bytes;
  Load<6>(packed, packed_stride);
  Load<4>(weights, step.stride_bytes);
  MultiplyAdd<0, 4, 6>();
  if constexpr (kTiles == 2) {
    Load<7>(packed + tile_elements, packed_stride);
    MultiplyAdd<1, 4, 7>();
  }
  if constexpr (kOutTiles >= 2) {
    Load<5>(weights + tile_bytes, step.stride_bytes);
    MultiplyAdd<2, 5, 6>();
    if constexpr (kTiles == 2) MultiplyAdd<3, 5, 7>();
  }
  if constexpr (kOutTiles == 4) {
    Load<4>(weights + 2 * tile_bytes, step.stride_bytes);
    MultiplyAdd<1, 4, 6>();
    Load<5>(weights + 3 * tile_bytes, step.stride_bytes);
    MultiplyAdd<3, 5, 6>();
  }
}

// Stores register kTile to its place among the sums of so many tiles.
template <int kOutTiles, int kTile>
SHIRA_AMX_INLINE void StoreSums(float* sums, int64_t stride) {
  constexpr int kOutTileOf[] = {0, 2, 1, 3};  // of four
  constexpr int kOutTile = kOutTiles == 4 ? kOutTileOf[kTile] : kTile / 2;
  constexpr int kActivationTile = kOutTiles == 4 ? 0 : kTile % 2;
  Store<kTile>(sums + kActivationTile * kMaxTileOuts * kTileSide + kOutTile * kTileSide * stride,
               stride);
}

// Up to kOutTiles * kTileSide weight rows. Steps that are not whole, for want of rows or of columns,
// are copied, with zeros behind.
template <int kOutTiles, int kTiles>
SHIRA_AMX_ATTR __attribute__((noinline)) void MultiplyOuts(const TileProduct& product,
                                                           const BFloat16* weights, int64_t outs,
                                                           float* sums, const char* ahead) {
  static_assert(kOutTiles == 1 || kOutTiles == 2 || (kOutTiles == 4 && kTiles == 1));
  Zero<0>();
  if constexpr (kTiles == 2 || kOutTiles == 4) Zero<1>();
  if constexpr (kOutTiles >= 2) Zero<2>();
  if constexpr (kOutTiles * kTiles == 4) Zero<3>();
  const int64_t steps = product.steps();
  const int64_t packed_stride = product.rows * 2 * static_cast<int64_t>(sizeof(BFloat16));
  const int64_t step_elements = kTileColumns * product.rows;
  const int64_t tile_elements = steps * step_elements;
  const int64_t stride_bytes = product.in * static_cast<int64_t>(sizeof(BFloat16));
  const int64_t whole_steps = outs == kOutTiles * kTileSide ? product.in / kTileColumns : 0;
  const int64_t sum_stride = SumStride(product.rows);
  const BFloat16* packed = product.packed;
  const int64_t ahead_step = product.ahead_bytes * outs / product.outs / steps;
  for (int64_t step = 0; step < whole_steps; ++step) {
    AddStep<kOutTiles, kTiles>({weights + step * kTileColumns, stride_bytes}, packed, packed_stride,
                               tile_elements);
    packed += step_elements;
    for (int64_t i = 0; i < ahead_step; i += 64) __builtin_prefetch(ahead + i, 0, 2);
    ahead += ahead_step;
  }
  for (int64_t step = whole_steps; step < steps; ++step) {
    alignas(64) BFloat16 whole[kOutTiles * kTileSide * kTileColumns] = {};
    const int64_t column = step * kTileColumns;
    const int64_t columns = std::min(kTileColumns, product.in - column);
    for (int64_t o = 0; o < outs; ++o) {
      std::memcpy(whole + o * kTileColumns, weights + o * product.in + column,
                  columns * sizeof(BFloat16));
    }
    AddStep<kOutTiles, kTiles>({whole, kTileColumns * sizeof(BFloat16)}, packed, packed_stride,
                               tile_elements);
    packed += step_elements;
  }
  StoreSums<kOutTiles, 0>(sums, sum_stride);
  if constexpr (kTiles == 2 || kOutTiles == 4) StoreSums<kOutTiles, 1>(sums, sum_stride);
  if constexpr (kOutTiles >= 2) StoreSums<kOutTiles, 2>(sums, sum_stride);
  if constexpr (kOutTiles * kTiles == 4) StoreSums<kOutTiles, 3>(sums, sum_stride);
}

template <int kTiles>
void MultiplyAll(const TileProduct& product, float* sums) {
  for (int64_t o = 0; o < product.outs;) {
    const BFloat16* weights = product.weights + o * product.in;
    float* to = sums + o * SumStride(product.rows);
    const char* ahead = product.ahead + product.ahead_bytes * o / product.outs;
    const int64_t left = product.outs - o;
    if (kTiles == 1 && left >= 4 * kTileSide) {
      MultiplyOuts<4, 1>(product, weights, 4 * kTileSide, to, ahead);
      o += 4 * kTileSide;
    } else if (left >= 2 * kTileSide) {
      MultiplyOuts<2, kTiles>(product, weights, 2 * kTileSide, to, ahead);
      o += 2 * kTileSide;
    } else {
      const int64_t outs = std::min(left, kTileSide);
      MultiplyOuts<1, kTiles>(product, weights, outs, to, ahead);
      o += outs;
    }
  }
}

// The state component of tile data, and the two bits of it and of the configuration.
constexpr unsigned kTileData = 18;
constexpr uint32_t kTileStates = 0b11u << 17;

bool CpuHasTiles() {
  uint32_t eax, ebx, ecx, edx;
  constexpr uint32_t kOsSavesStates = 1u << 27;
  if (__get_cpuid(1, &eax, &ebx, &ecx, &edx) == 0 || (ecx & kOsSavesStates) == 0) return false;
  constexpr uint32_t kAmxBf16 = 1u << 22, kAmxTile = 1u << 24;
  if (__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) == 0) return false;
  if ((edx & kAmxBf16) == 0 || (edx & kAmxTile) == 0) return false;
  uint32_t states, unused;
  asm volatile("xgetbv" : "=a"(states), "=d"(unused) : "c"(0));
  if ((states & kTileStates) != kTileStates) return false;
  // Palette 1: eight registers of 16 rows of 64 bytes.
  if (__get_cpuid_count(0x1D, 1, &eax, &ebx, &ecx, &edx) == 0) return false;
  return (ebx & 0xFFFF) == 64 && (ebx >> 16) >= 8 && (ecx & 0xFFFF) >= kTileSide;
}

// Fails where the kernel does not know of it, and where a signal stack is too small for the tiles.
bool AskPermission() {
  constexpr int kRequestPermission = 0x1023;  // ARCH_REQ_XCOMP_PERM
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

}  // namespace

bool AmxTiles::Usable() {
  static const bool usable = CpuHasTiles() && AskPermission();
  return usable;
}

AmxTiles::~AmxTiles() {
  if (configured_rows_ != 0) Release();
}

void AmxTiles::Multiply(const TileProduct& product, float* sums) {
  if (configured_rows_ != product.rows) {
    Configure(ConfigFor(product.rows));
    configured_rows_ = product.rows;
  }
  product.tiles == 2 ? MultiplyAll<2>(product, sums) : MultiplyAll<1>(product, sums);
}

#else

bool AmxTiles::Usable() { return false; }
AmxTiles::~AmxTiles() = default;
void AmxTiles::Multiply(const TileProduct&, float*) {}

#endif

}  // namespace shira
