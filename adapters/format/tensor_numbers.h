// File: adapters/format/tensor_numbers.h
//
// The numbers in a file's tensors, as the readers need them.

#ifndef SHIRA_ADAPTERS_FORMAT_TENSOR_NUMBERS_H_
#define SHIRA_ADAPTERS_FORMAT_TENSOR_NUMBERS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/dtype.h"
#include "base/safetensors.h"

namespace shira {

// "F32 [3, 1]", for errors.
std::string DescribeTensor(const TensorView& tensor);

// Whether an adapter's values can have this dtype: F32, BF16 or F16.
bool IsValueDType(DType dtype);

// All values, as floats. REQUIRES: IsValueDType(tensor.dtype).
std::vector<float> ReadValues(const TensorView& tensor);

// Index i. nullopt for a float that is no integer. REQUIRES: I32, I64 or F32.
std::optional<int64_t> IndexAt(const TensorView& tensor, int64_t i);

// All indices. REQUIRES: I32 or I64.
std::vector<int64_t> ReadIndices(const TensorView& tensor);

// The positions that gaps mean: gap i is the number of elements between position i - 1 (the first:
// the beginning) and position i. REQUIRES: U16 or U32.
std::vector<int64_t> ReadGaps(const TensorView& tensor);

}  // namespace shira

#endif  // SHIRA_ADAPTERS_FORMAT_TENSOR_NUMBERS_H_
