#include "server/model/kernels/bf16_products.h"

#include <hwy/detect_compiler_arch.h>

#include <cstdlib>

#include "server/model/kernels/amx_tiles.h"

namespace shira {
namespace {

std::optional<Bf16Products> products_for_test;

bool DotPays() {
#if HWY_ARCH_X86
  return __builtin_cpu_is("amd");
#else
  return false;
#endif
}

bool HasDot() {
#if HWY_ARCH_X86
  return __builtin_cpu_supports("avx512bf16");
#else
  return false;
#endif
}

}  // namespace

std::string_view Bf16ProductsName(Bf16Products products) {
  switch (products) {
    case Bf16Products::kWidened:
      return "fp32";
    case Bf16Products::kDot:
      return "AVX-512 BF16";
    case Bf16Products::kTiles:
      return "AMX";
    case Bf16Products::kEmulatedTiles:
      return "AMX emulated";
  }
  return "unknown";
}

bool CanUse(Bf16Products products) {
  if (products == Bf16Products::kDot) return HasDot();
  if (products == Bf16Products::kTiles) return AmxTiles::Usable();
  return true;
}

namespace {

Bf16Products Choose() {
  const char* wanted = std::getenv("SHIRA_BF16_PRODUCTS");
  for (const Bf16Products products : kAllBf16Products) {
    if (wanted != nullptr && wanted == Bf16ProductsName(products) && CanUse(products)) {
      return products;
    }
  }
  if (CanUse(Bf16Products::kTiles)) return Bf16Products::kTiles;
  if (CanUse(Bf16Products::kDot) && DotPays()) return Bf16Products::kDot;
  return Bf16Products::kWidened;
}

}  // namespace

Bf16Products ChosenBf16Products() {
  static const Bf16Products chosen = Choose();
  return products_for_test.value_or(chosen);
}

void SetBf16ProductsForTest(std::optional<Bf16Products> products) { products_for_test = products; }

}  // namespace shira
