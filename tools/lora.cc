#include "tools/lora.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <optional>
#include <string_view>

#include "absl/strings/strip.h"
#include "adapters/format/peft_layout.h"
#include "adapters/format/tensor_numbers.h"
#include "base/problem_list.h"
#include "base/status_macros.h"
#include "base/strings.h"

namespace shira::tools {
namespace {

constexpr absl::string_view kA = ".lora_A.weight";
constexpr absl::string_view kB = ".lora_B.weight";

// Options that may have any value: the tensors say what they led to, or they matter in training
// only.
constexpr std::array<std::string_view, 20> kHarmless = {
    "auto_mapping",        "base_model_name_or_path",
    "ensure_weight_tying", "exclude_modules",
    "inference_mode",      "layers_pattern",
    "layers_to_transform", "lora_alpha",
    "lora_dropout",        "megatron_core",
    "peft_type",           "peft_version",
    "qalora_group_size",   "r",
    "rank_pattern",        "revision",
    "runtime_config",      "target_modules",
    "task_type",           "use_rslora"};

// Initialisations that leave the base weights alone.
constexpr std::array<std::string_view, 3> kPlainStarts = {"eva", "gaussian", "orthogonal"};

template <typename List>
bool Contains(const List& list, std::string_view item) {
  return std::find(list.begin(), list.end(), item) != list.end();
}

// Whether an option says nothing.
bool IsUnset(const nlohmann::json& value) {
  return value.is_null() || value == false || value == "" ||
         (value.is_structured() && value.empty());
}

bool IsKnown(const std::string& option, const nlohmann::json& value) {
  if (option == "bias") return value == "none";
  if (option == "init_lora_weights") {
    return value.is_boolean() ||
           (value.is_string() && Contains(kPlainStarts, value.get_ref<const std::string&>()));
  }
  return Contains(kHarmless, option) || IsUnset(value);
}

absl::Status CheckOptions(const AdapterFiles& files) {
  if (files.config_path.empty()) {
    return absl::NotFoundError(
        StrCat(files.tensors_path, ": expected a folder with adapter_config.json around it"));
  }
  ProblemList problems;
  if (const auto type = files.config.value("peft_type", nlohmann::json()); type != "LORA") {
    return absl::UnimplementedError(
        StrCat(files.config_path, ": peft_type: expected LORA, found ", type.dump()));
  }
  for (const auto& [option, value] : files.config.items()) {
    if (!IsKnown(option, value)) problems.Add(option, " = ", value.dump(), " is not supported");
  }
  return problems.ToStatus(absl::StatusCode::kUnimplemented, files.config_path);
}

// lora_alpha; nullopt where there is no number.
std::optional<double> Alpha(const AdapterFiles& files) {
  const auto alpha = files.config.find("lora_alpha");
  if (alpha == files.config.end() || !alpha->is_number()) return std::nullopt;
  return alpha->get<double>();
}

bool IsMatrix(const TensorView& tensor) {
  return IsValueDType(tensor.dtype) && tensor.shape.size() == 2 && tensor.elements() > 0;
}

struct Pair {
  const TensorView* a = nullptr;
  const TensorView* b = nullptr;
};

void AddLayer(const std::string& path, const Pair& pair, double alpha, bool rank_stabilised,
              LoraAdapter& adapter, ProblemList& problems) {
  if (pair.a == nullptr || pair.b == nullptr) {
    problems.Add(kPeftPrefix, path, pair.a == nullptr ? kA : kB, ": missing");
    return;
  }
  if (!IsMatrix(*pair.a) || !IsMatrix(*pair.b) || pair.a->shape[0] != pair.b->shape[1]) {
    problems.Add(kPeftPrefix, path,
                 ": expected lora_A [r, in] and lora_B [out, r] of F32, BF16 or F16, ", "found ",
                 DescribeTensor(*pair.a), " and ", DescribeTensor(*pair.b));
    return;
  }
  const double r = static_cast<double>(pair.a->shape[0]);
  const double scale = rank_stabilised ? alpha / std::sqrt(r) : alpha / r;
  adapter.layers.push_back({path + ".weight", *pair.a, *pair.b, static_cast<float>(scale)});
}

// out[j] = fma(factor, row[j], out[j]).
using AddScaledRow = void (*)(float factor, const float* row, int64_t count, float* out);

void AddScaledRowAnywhere(float factor, const float* row, int64_t count, float* out) {
  for (int64_t j = 0; j < count; ++j) out[j] = std::fma(factor, row[j], out[j]);
}

#if defined(__x86_64__)
// The same with the processor's instruction instead of a call for each element.
__attribute__((target("fma"))) void AddScaledRowFma(float factor, const float* row, int64_t count,
                                                    float* out) {
  for (int64_t j = 0; j < count; ++j) out[j] = __builtin_fmaf(factor, row[j], out[j]);
}

AddScaledRow ChooseAddScaledRow() {
  return __builtin_cpu_supports("fma") ? AddScaledRowFma : AddScaledRowAnywhere;
}
#else
AddScaledRow ChooseAddScaledRow() { return AddScaledRowAnywhere; }
#endif

}  // namespace

absl::StatusOr<LoraAdapter> ReadLora(const AdapterFiles& files, const Safetensors& tensors) {
  SHIRA_RETURN_IF_ERROR(CheckOptions(files));
  const std::optional<double> alpha = Alpha(files);
  if (!alpha.has_value()) {
    return absl::InvalidArgumentError(StrCat(files.config_path, ": lora_alpha: expected a number"));
  }
  const bool rank_stabilised = files.config.value("use_rslora", nlohmann::json()) == true;

  ProblemList problems;
  std::map<std::string, Pair> pairs;
  for (const auto& [name, tensor] : tensors.tensors()) {
    absl::string_view path = name;
    const bool prefixed = absl::ConsumePrefix(&path, kPeftPrefix);
    if (prefixed && absl::ConsumeSuffix(&path, kA)) {
      pairs[std::string(path)].a = &tensor;
    } else if (prefixed && absl::ConsumeSuffix(&path, kB)) {
      pairs[std::string(path)].b = &tensor;
    } else {
      problems.Add(name, ": left over: no lora_A or lora_B of an nn.Linear");
    }
  }
  LoraAdapter adapter;
  for (const auto& [path, pair] : pairs) {
    AddLayer(path, pair, *alpha, rank_stabilised, adapter, problems);
  }
  if (tensors.tensors().empty()) problems.Add("no tensors");
  SHIRA_RETURN_IF_ERROR(problems.ToStatus(absl::StatusCode::kInvalidArgument, files.tensors_path));
  adapter.base_model = PeftBaseModel(files);
  return adapter;
}

std::vector<float> DenseDelta(const LoraLayer& layer, const ParallelFor& parallel_for) {
  const std::vector<float> a = ReadValues(layer.a);
  const std::vector<float> b = ReadValues(layer.b);
  const int64_t r = layer.a.shape[0];
  const int64_t cols = layer.cols();
  const AddScaledRow add_scaled_row = ChooseAddScaledRow();
  std::vector<float> delta(layer.rows() * cols);
  parallel_for(layer.rows(), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      float* out = delta.data() + row * cols;
      for (int64_t k = 0; k < r; ++k) {
        add_scaled_row(b[row * r + k], a.data() + k * cols, cols, out);
      }
      for (int64_t j = 0; j < cols; ++j) out[j] *= layer.scale;
    }
  });
  return delta;
}

}  // namespace shira::tools
