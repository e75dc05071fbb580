#include "adapters/format/peft_shira.h"

#include <map>
#include <optional>
#include <utility>

#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "base/problem_list.h"
#include "base/strings.h"

namespace shira {
namespace {

constexpr absl::string_view kPrefix = "base_model.model.";
constexpr absl::string_view kWeight = ".shira_weight";
constexpr absl::string_view kIndices = ".shira_indices";

std::string Describe(const TensorView& tensor) {
  return StrCat(DTypeName(tensor.dtype), " [", absl::StrJoin(tensor.shape, ", "), "]");
}

// The two tensors of one layer, as far as they were found.
struct Layer {
  const TensorView* weight = nullptr;
  const TensorView* indices = nullptr;
};

std::map<std::string, Layer> CollectLayers(const Safetensors& tensors, ProblemList& problems) {
  std::map<std::string, Layer> layers;
  for (const auto& [name, tensor] : tensors.tensors()) {
    absl::string_view path = name;
    if (!absl::ConsumePrefix(&path, kPrefix)) {
      problems.Add(name, ": left over: no part of a SHiRA adapter");
    } else if (absl::ConsumeSuffix(&path, kWeight)) {
      layers[std::string(path)].weight = &tensor;
    } else if (absl::ConsumeSuffix(&path, kIndices)) {
      layers[std::string(path)].indices = &tensor;
    } else {
      problems.Add(name, ": left over: whole tensors (modules_to_save) are not supported");
    }
  }
  return layers;
}

std::optional<RawDelta> ReadLayer(const std::string& path, const Layer& layer,
                                  ProblemList& problems) {
  if (layer.weight == nullptr || layer.indices == nullptr) {
    problems.Add(kPrefix, path, layer.weight == nullptr ? kWeight : kIndices, ": missing");
    return std::nullopt;
  }
  const TensorView& weight = *layer.weight;
  const TensorView& indices = *layer.indices;
  const size_t problems_before = problems.count();
  if (weight.shape.size() != 1 || (weight.dtype != DType::kF32 && weight.dtype != DType::kBF16 &&
                                   weight.dtype != DType::kF16)) {
    problems.Add(kPrefix, path, kWeight, ": expected F32 [n], found ", Describe(weight));
  }
  const bool integral = indices.dtype == DType::kI32 || indices.dtype == DType::kI64;
  if (indices.shape.size() != 2 || indices.shape[0] != 2 ||
      (!integral && indices.dtype != DType::kF32)) {
    problems.Add(kPrefix, path, kIndices, ": expected I32 [2, n], found ", Describe(indices));
  }
  if (problems.count() != problems_before) return std::nullopt;
  if (indices.shape[1] != weight.shape[0]) {
    problems.Add(kPrefix, path, kIndices, ": expected [2, ", weight.shape[0],
                 "] like its weight, found ", Describe(indices));
    return std::nullopt;
  }
  const size_t half = indices.data.size() / 2;
  const std::vector<int64_t> shape = weight.shape;
  return RawDelta{StrCat(path, ".weight"),
                  TensorView{indices.dtype, shape, indices.data.first(half)},
                  TensorView{indices.dtype, shape, indices.data.last(half)}, weight};
}

}  // namespace

absl::StatusOr<RawAdapter> ReadPeftShira(const AdapterFiles& files, const Safetensors& tensors) {
  ProblemList problems;
  RawAdapter adapter;
  if (const auto base = files.config.find("base_model_name_or_path");
      base != files.config.end() && base->is_string()) {
    adapter.base_model = base->get<std::string>();
  }
  for (const auto& [path, layer] : CollectLayers(tensors, problems)) {
    if (auto delta = ReadLayer(path, layer, problems)) adapter.deltas.push_back(*std::move(delta));
  }
  if (!problems.empty()) {
    return problems.ToStatus(absl::StatusCode::kInvalidArgument, files.tensors_path());
  }
  return adapter;
}

}  // namespace shira
