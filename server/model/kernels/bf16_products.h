// File: server/model/kernels/bf16_products.h
//
// Which of the processor's instructions linear layers and attention in bfloat16 use. The choice is
// made once per process: each kind rounds differently.

#ifndef SHIRA_SERVER_MODEL_KERNELS_BF16_PRODUCTS_H_
#define SHIRA_SERVER_MODEL_KERNELS_BF16_PRODUCTS_H_

#include <optional>
#include <string_view>

#include "absl/status/status.h"

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

// Those in use: what the environment variable SHIRA_BF16_PRODUCTS names, if the process can use it.
// Else the dot product on AMD's cores (Zen 4 on), which do twice as many products with it as with
// multiply-add, but not on Intel's, which, measured on Sapphire Rapids, do half as many. Tiles only
// when they are named: they read prompts several times as fast, but decode single streams slower.
Bf16Products ChosenBf16Products();

// What is wrong with the environment variable: INVALID_ARGUMENT for an unknown name,
// FAILED_PRECONDITION for products that this process cannot use.
absl::Status CheckBf16ProductsVariable();

// For tests and benchmarks: overrides ChosenBf16Products() until called with nullopt. Not while a
// kernel runs, and not while keys and values are stored. REQUIRES: CanUse(*products).
void SetBf16ProductsForTest(std::optional<Bf16Products> products);

}  // namespace shira

#endif  // SHIRA_SERVER_MODEL_KERNELS_BF16_PRODUCTS_H_
