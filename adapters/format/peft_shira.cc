#include "adapters/format/peft_shira.h"

#include <optional>
#include <string>
#include <utility>

#include "adapters/format/peft_layout.h"
#include "adapters/format/tensor_numbers.h"
#include "base/problem_list.h"
#include "base/status_macros.h"
#include "base/strings.h"

namespace shira {
namespace {

constexpr absl::string_view kWeight = ".shira_weight";
constexpr absl::string_view kIndices = ".shira_indices";

// They say how the mask was made, which the indices show.
constexpr absl::string_view kOptions[] = {
    "fan_in_fan_out", "init_weights", "mask_type", "r", "random_seed", "target_modules",
};

std::optional<RawDelta> ReadLayer(const std::string& path, const TensorView& weight,
                                  const TensorView& indices, ProblemList& problems) {
  const size_t problems_before = problems.count();
  if (weight.shape.size() != 1 || !IsValueDType(weight.dtype)) {
    problems.Add(kPeftPrefix, path, kWeight, ": expected F32 [n], found ", DescribeTensor(weight));
  }
  const bool integral = indices.dtype == DType::kI32 || indices.dtype == DType::kI64;
  if (indices.shape.size() != 2 || indices.shape[0] != 2 ||
      (!integral && indices.dtype != DType::kF32)) {
    problems.Add(kPeftPrefix, path, kIndices, ": expected I32 [2, n], found ",
                 DescribeTensor(indices));
  }
  if (problems.count() != problems_before) return std::nullopt;
  if (indices.shape[1] != weight.shape[0]) {
    problems.Add(kPeftPrefix, path, kIndices, ": expected [2, ", weight.shape[0],
                 "] like its weight, found ", DescribeTensor(indices));
    return std::nullopt;
  }
  const size_t half = indices.data.size() / 2;
  return RawDelta{StrCat(path, ".weight"), ValueKind::kDelta,
                  RowsAndColumns{{indices.dtype, weight.shape, indices.data.first(half)},
                                 {indices.dtype, weight.shape, indices.data.last(half)}},
                  weight};
}

}  // namespace

absl::StatusOr<RawAdapter> ReadPeftShira(const AdapterFiles& files, const Safetensors& tensors) {
  SHIRA_RETURN_IF_ERROR(CheckPeftOptions(files, kOptions));
  return ReadPeftLayers(files, tensors, {kWeight, kIndices}, ReadLayer);
}

}  // namespace shira
