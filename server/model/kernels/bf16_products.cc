#include "server/model/kernels/bf16_products.h"

#include <hwy/detect_compiler_arch.h>

#include <cstdlib>
#include <string>

#include "absl/status/statusor.h"
#include "base/strings.h"
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

constexpr const char* kVariable = "SHIRA_BF16_PRODUCTS";

// What the environment names.
absl::StatusOr<std::optional<Bf16Products>> Wanted() {
  const char* wanted = std::getenv(kVariable);
  if (wanted == nullptr || *wanted == '\0') return std::nullopt;
  std::string known;
  for (const Bf16Products products : kAllBf16Products) {
    known += StrCat(known.empty() ? "" : ", ", Bf16ProductsName(products));
    if (wanted != Bf16ProductsName(products)) continue;
    if (CanUse(products)) return products;
    return absl::FailedPreconditionError(StrCat(kVariable, ": this process cannot use ", wanted,
                                                " (processor, kernel or hypervisor)"));
  }
  return absl::InvalidArgumentError(
      StrCat(kVariable, ": expected one of ", known, ", found '", wanted, "'"));
}

Bf16Products Choose() {
  const absl::StatusOr<std::optional<Bf16Products>> wanted = Wanted();
  if (wanted.ok() && wanted->has_value()) return **wanted;
  return CanUse(Bf16Products::kDot) && DotPays() ? Bf16Products::kDot : Bf16Products::kWidened;
}

}  // namespace

absl::Status CheckBf16ProductsVariable() { return Wanted().status(); }

Bf16Products ChosenBf16Products() {
  static const Bf16Products chosen = Choose();
  return products_for_test.value_or(chosen);
}

void SetBf16ProductsForTest(std::optional<Bf16Products> products) { products_for_test = products; }

}  // namespace shira
