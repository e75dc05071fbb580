#include "adapters/format/peft_supertuning.h"

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

constexpr absl::string_view kValues = ".supertuning_values";
constexpr absl::string_view kIndices = ".supertuning_indices";

// They say how the positions were chosen, which the indices show, and how the low-rank part is
// scaled, which there is none of without "r".
constexpr absl::string_view kOptions[] = {
    "init_weights", "lora_alpha", "lora_dropout",   "save_precomputed_indices",
    "select_top",   "sparsity",   "target_modules",
};

std::optional<RawDelta> ReadLayer(const std::string& path, const TensorView& values,
                                  const TensorView& indices, ProblemList& problems) {
  const size_t problems_before = problems.count();
  if (values.shape.size() != 1 || !IsValueDType(values.dtype)) {
    problems.Add(kPeftPrefix, path, kValues, ": expected F32 [n], found ", DescribeTensor(values));
  }
  if (indices.shape.size() != 1 || (indices.dtype != DType::kI32 && indices.dtype != DType::kI64)) {
    problems.Add(kPeftPrefix, path, kIndices, ": expected I32 [n], found ",
                 DescribeTensor(indices));
  }
  if (problems.count() != problems_before) return std::nullopt;
  if (indices.shape != values.shape) {
    problems.Add(kPeftPrefix, path, kIndices, ": expected [", values.shape[0],
                 "] like its values, found ", DescribeTensor(indices));
    return std::nullopt;
  }
  return RawDelta{StrCat(path, ".weight"), ValueKind::kDelta, ReadIndices(indices), values};
}

}  // namespace

absl::StatusOr<RawAdapter> ReadPeftSupertuning(const AdapterFiles& files,
                                               const Safetensors& tensors) {
  SHIRA_RETURN_IF_ERROR(CheckPeftOptions(files, kOptions));
  if (const auto saved = files.config.find("save_precomputed_indices");
      saved != files.config.end() && *saved == false) {
    return absl::UnimplementedError(
        StrCat(files.config_path,
               ": save_precomputed_indices: expected true, found false: where the values go is not "
               "in the file; save the adapter again with the option"));
  }
  SHIRA_ASSIGN_OR_RETURN(RawAdapter adapter,
                         ReadPeftLayers(files, tensors, {kValues, kIndices}, ReadLayer));
  adapter.rounds_values = true;
  return adapter;
}

}  // namespace shira
