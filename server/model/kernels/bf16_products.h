// File: server/model/kernels/bf16_products.h
//
// Which of the processor's instructions linear layers and attention in bfloat16 use. The choice is
// made once per process: each kind rounds differently.

#ifndef SHIRA_SERVER_MODEL_KERNELS_BF16_PRODUCTS_H_
#define SHIRA_SERVER_MODEL_KERNELS_BF16_PRODUCTS_H_

#include <optional>
#include <string_view>

namespace shira {

enum class Bf16Products {
  kWidened,        // fp32 multiply-add of widened elements: every CPU
  kDot,            // AVX-512 BF16's vdpbf16ps: pairs of products
  kTiles,          // AMX's tdpbf16ps: tiles of 16 x 32 weights
  kEmulatedTiles,  // the same arithmetic bit for bit on every CPU, for tests: slow
};

inline constexpr Bf16Products kAllBf16Products[] = {
    Bf16Products::kWidened, Bf16Products::kDot, Bf16Products::kTiles, Bf16Products::kEmulatedTiles};

// Whether these are products of whole matrix tiles, real or emulated.
constexpr bool UsesTiles(Bf16Products products) {
  return products == Bf16Products::kTiles || products == Bf16Products::kEmulatedTiles;
}

// "fp32", "AVX-512 BF16", "AMX" or "AMX emulated".
std::string_view Bf16ProductsName(Bf16Products products);

// Whether this process can use them. Asks the kernel for AMX the first time.
bool CanUse(Bf16Products products);

// Those in use: what the environment variable SHIRA_BF16_PRODUCTS names, if the process can use it,
// or else the fastest that it can use. Tiles, where they are. The dot product on
// AMD's cores (Zen 4 on), which do twice as many products with it as with multiply-add, but not on
// Intel's, which, measured on Sapphire Rapids, do half as many.
Bf16Products ChosenBf16Products();

// For tests and benchmarks: overrides ChosenBf16Products() until called with nullopt. Not while a
// kernel runs, and not while keys and values are stored. REQUIRES: CanUse(*products).
void SetBf16ProductsForTest(std::optional<Bf16Products> products);

}  // namespace shira

#endif  // SHIRA_SERVER_MODEL_KERNELS_BF16_PRODUCTS_H_
