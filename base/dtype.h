// File: base/dtype.h
//
// The element types that files and resident weights use. Resident weights are float32, bfloat16 or
// float16; the others occur in files only.

#ifndef SHIRA_BASE_DTYPE_H_
#define SHIRA_BASE_DTYPE_H_

#include <cstddef>
#include <optional>
#include <string_view>

namespace shira {

enum class DType { kBool, kU8, kI8, kU16, kI16, kU32, kI32, kU64, kI64, kF16, kBF16, kF32, kF64 };

// Bytes per element.
size_t DTypeSize(DType dtype);

// The safetensors name: "F32", "BF16", "I32" and so on.
std::string_view DTypeName(DType dtype);

// The inverse of DTypeName; nullopt for a name that this program does not know.
std::optional<DType> ParseDType(std::string_view safetensors_name);

}  // namespace shira

#endif  // SHIRA_BASE_DTYPE_H_
