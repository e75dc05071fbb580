#include "adapters/format/tensor_numbers.h"

#include <cmath>
#include <cstring>

#include "absl/strings/str_join.h"
#include "base/float_types.h"
#include "base/strings.h"

namespace shira {
namespace {

// A file's bytes need not be aligned for their type.
template <typename T>
T LoadUnaligned(const TensorView& tensor, int64_t i) {
  T value;
  std::memcpy(&value, tensor.data.data() + i * sizeof(T), sizeof(T));
  return value;
}

template <typename T>
std::vector<float> ReadValuesAs(const TensorView& tensor) {
  std::vector<float> values(tensor.elements());
  for (size_t i = 0; i < values.size(); ++i) values[i] = ToFloat(LoadUnaligned<T>(tensor, i));
  return values;
}

template <typename T>
std::vector<int64_t> ReadIntegersAs(const TensorView& tensor) {
  std::vector<int64_t> numbers(tensor.elements());
  for (size_t i = 0; i < numbers.size(); ++i) numbers[i] = LoadUnaligned<T>(tensor, i);
  return numbers;
}

}  // namespace

std::string DescribeTensor(const TensorView& tensor) {
  return StrCat(DTypeName(tensor.dtype), " [", absl::StrJoin(tensor.shape, ", "), "]");
}

bool IsValueDType(DType dtype) {
  return dtype == DType::kF32 || dtype == DType::kBF16 || dtype == DType::kF16;
}

std::vector<float> ReadValues(const TensorView& tensor) {
  switch (tensor.dtype) {
    case DType::kBF16:
      return ReadValuesAs<BFloat16>(tensor);
    case DType::kF16:
      return ReadValuesAs<Float16>(tensor);
    default:
      return ReadValuesAs<float>(tensor);
  }
}

// Floats beyond 2^24 can't hold every index, but what they hold is exact.
std::optional<int64_t> IndexAt(const TensorView& tensor, int64_t i) {
  switch (tensor.dtype) {
    case DType::kI64:
      return LoadUnaligned<int64_t>(tensor, i);
    case DType::kI32:
      return LoadUnaligned<int32_t>(tensor, i);
    default: {
      const float value = LoadUnaligned<float>(tensor, i);
      if (!(std::abs(value) < 0x1p62f) || std::trunc(value) != value) return std::nullopt;
      return static_cast<int64_t>(value);
    }
  }
}

std::vector<int64_t> ReadIndices(const TensorView& tensor) {
  return tensor.dtype == DType::kI64 ? ReadIntegersAs<int64_t>(tensor)
                                     : ReadIntegersAs<int32_t>(tensor);
}

std::vector<int64_t> ReadGaps(const TensorView& tensor) {
  std::vector<int64_t> positions = tensor.dtype == DType::kU16 ? ReadIntegersAs<uint16_t>(tensor)
                                                               : ReadIntegersAs<uint32_t>(tensor);
  // No overflow: 2^31 gaps of 2^32 would be a file of 8 GiB, and their sum is 2^63.
  int64_t next = 0;
  for (int64_t& position : positions) {
    position += next;
    next = position + 1;
  }
  return positions;
}

}  // namespace shira
