#include "base/dtype.h"

#include <array>

namespace shira {
namespace {

struct DTypeFacts {
  std::string_view name;
  size_t bytes;
};

// Indexed by DType.
constexpr std::array<DTypeFacts, 13> kFacts = {{{"BOOL", 1},
                                                {"U8", 1},
                                                {"I8", 1},
                                                {"U16", 2},
                                                {"I16", 2},
                                                {"U32", 4},
                                                {"I32", 4},
                                                {"U64", 8},
                                                {"I64", 8},
                                                {"F16", 2},
                                                {"BF16", 2},
                                                {"F32", 4},
                                                {"F64", 8}}};
static_assert(kFacts.size() == static_cast<size_t>(DType::kF64) + 1);

}  // namespace

size_t DTypeSize(DType dtype) { return kFacts[static_cast<size_t>(dtype)].bytes; }

std::string_view DTypeName(DType dtype) { return kFacts[static_cast<size_t>(dtype)].name; }

std::optional<DType> ParseDType(std::string_view safetensors_name) {
  for (size_t i = 0; i < kFacts.size(); ++i) {
    if (kFacts[i].name == safetensors_name) return static_cast<DType>(i);
  }
  return std::nullopt;
}

}  // namespace shira
