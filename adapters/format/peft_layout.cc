#include "adapters/format/peft_layout.h"

#include <algorithm>
#include <iterator>
#include <map>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/strip.h"
#include "adapters/format/tensor_numbers.h"
#include "base/status_macros.h"
#include "base/strings.h"

namespace shira {
namespace {

// PeftConfig's own fields. None of them says what the tensors mean.
constexpr absl::string_view kCommonOptions[] = {
    "auto_mapping",   "base_model_name_or_path",
    "inference_mode", "modules_to_save",
    "peft_type",      "peft_version",
    "revision",       "task_type",
};

// What PEFT calls the module that it wrapped, in layers and in modules_to_save, and its copy there.
constexpr absl::string_view kBaseLayer = ".base_layer";
constexpr absl::string_view kOriginal = ".original_module";
constexpr absl::string_view kModulesToSave = ".modules_to_save";

std::vector<std::string> ModulesToSave(const AdapterFiles& files) {
  std::vector<std::string> modules;
  const auto found = files.config.find("modules_to_save");
  if (found == files.config.end() || !found->is_array()) return modules;
  for (const nlohmann::json& module : *found) {
    if (module.is_string()) modules.push_back(module.get<std::string>());
  }
  return modules;
}

// Whether a tensor lies in one of the modules, which PEFT compares with the end of a module's path
// as text: "norm" names "model.layers.0.input_layernorm" too.
bool LiesInOneOf(absl::string_view path, const std::vector<std::string>& modules) {
  for (size_t dot = path.find('.'); dot != absl::string_view::npos; dot = path.find('.', dot + 1)) {
    const absl::string_view module = path.substr(0, dot);
    if (std::any_of(modules.begin(), modules.end(), [&](const std::string& name) {
          return !name.empty() && absl::EndsWith(module, name);
        })) {
      return true;
    }
  }
  return false;
}

// Modules that PEFT saves whole when it is told to, or when it finds that the vocabulary grew.
constexpr absl::string_view kEmbeddings[] = {"embed_tokens", "lm_head"};

bool IsEmbedding(absl::string_view module) {
  return std::any_of(std::begin(kEmbeddings), std::end(kEmbeddings), [&](absl::string_view name) {
    return module == name || absl::EndsWith(module, StrCat(".", name));
  });
}

// A tensor that is no layer's: a parameter of module `module`, or of what PEFT put around it.
struct WholeTensor {
  std::string module;
  std::string part;  // "", or ".base_layer" and so on
  std::string name;  // ".weight" or ".bias"

  static WholeTensor Of(absl::string_view path) {
    const size_t dot = std::min(path.rfind('.'), path.size());
    absl::string_view module = path.substr(0, dot);
    std::string found;
    for (const absl::string_view part : {kBaseLayer, kOriginal, kModulesToSave}) {
      if (!absl::ConsumeSuffix(&module, part)) continue;
      found = std::string(part);
      break;
    }
    return {std::string(module), std::move(found), std::string(path.substr(dot))};
  }

  std::string parameter() const { return StrCat(module, name); }
};

bool IsSet(const nlohmann::json& value) {
  if (value.is_null()) return false;
  if (value.is_boolean()) return value.get<bool>();
  if (value.is_string()) return !value.get_ref<const std::string&>().empty();
  return !value.is_structured() || !value.empty();
}

}  // namespace

absl::StatusOr<RawAdapter> ReadPeftLayers(const AdapterFiles& files, const Safetensors& tensors,
                                          const PeftSuffixes& suffixes,
                                          PeftLayerReader read_layer) {
  const std::vector<std::string> modules_to_save = ModulesToSave(files);
  ProblemList problems;
  RawAdapter adapter;
  adapter.base_model = PeftBaseModel(files);
  struct Layer {
    const TensorView* values = nullptr;
    const TensorView* indices = nullptr;
  };
  std::map<std::string, Layer> layers;  // by module path
  std::vector<std::pair<absl::string_view, const TensorView*>> others;
  for (const auto& [name, tensor] : tensors.tensors()) {
    absl::string_view path = name;
    if (!absl::ConsumePrefix(&path, kPeftPrefix)) {
      problems.Add(name, ": left over: its name does not begin with ", kPeftPrefix);
    } else if (absl::ConsumeSuffix(&path, suffixes.values)) {
      layers[std::string(path)].values = &tensor;
    } else if (absl::ConsumeSuffix(&path, suffixes.indices)) {
      layers[std::string(path)].indices = &tensor;
    } else {
      others.emplace_back(path, &tensor);
    }
  }
  // nullopt: PEFT would not load it.
  const auto role_of = [&](const WholeTensor& whole) -> std::optional<EveryPosition::Role> {
    const bool is_saved = LiesInOneOf(whole.parameter(), modules_to_save);
    const bool is_layer = layers.count(whole.module) != 0;
    if (whole.part == kBaseLayer && is_layer) return EveryPosition::Role::kFrozen;
    if (whole.part == kOriginal && is_saved) return EveryPosition::Role::kFrozen;
    if (!whole.part.empty() || is_layer) return std::nullopt;
    if (is_saved) return EveryPosition::Role::kCopy;
    if (IsEmbedding(whole.module)) return EveryPosition::Role::kBase;
    return std::nullopt;
  };
  for (const auto& [path, tensor] : others) {
    const WholeTensor whole = WholeTensor::Of(path);
    if (whole.part == kModulesToSave) {
      // The trained module once more, under the name that it has in memory.
      const TensorView* same = tensors.Find(StrCat(kPeftPrefix, whole.parameter()));
      if (same != nullptr && same->dtype == tensor->dtype && same->data == tensor->data) continue;
    }
    if (const auto role = role_of(whole); !role.has_value()) {
      problems.Add(kPeftPrefix, path,
                   ": left over: no part of this tuner, nor of a module in modules_to_save");
    } else if (!IsValueDType(tensor->dtype)) {
      problems.Add(kPeftPrefix, path, ": expected F32, BF16 or F16, found ",
                   DescribeTensor(*tensor));
    } else {
      adapter.deltas.push_back(
          {whole.parameter(), ValueKind::kReplacement, EveryPosition{*role}, *tensor});
    }
  }
  for (const auto& [path, layer] : layers) {
    if (layer.values == nullptr || layer.indices == nullptr) {
      problems.Add(kPeftPrefix, path, layer.values == nullptr ? suffixes.values : suffixes.indices,
                   ": missing");
      continue;
    }
    if (auto delta = read_layer(path, *layer.values, *layer.indices, problems)) {
      adapter.deltas.push_back(*std::move(delta));
    }
  }
  SHIRA_RETURN_IF_ERROR(problems.ToStatus(absl::StatusCode::kInvalidArgument, files.tensors_path));
  return adapter;
}

absl::Status CheckPeftOptions(const AdapterFiles& files,
                              absl::Span<const absl::string_view> known) {
  const auto contains = [](absl::Span<const absl::string_view> options, absl::string_view name) {
    return std::find(options.begin(), options.end(), name) != options.end();
  };
  ProblemList unknown;
  for (auto it = files.config.begin(); it != files.config.end(); ++it) {
    if (IsSet(*it) && !contains(kCommonOptions, it.key()) && !contains(known, it.key())) {
      unknown.Add(it.key(), ": expected it unset, as this reader does not know it, found ",
                  it->dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
    }
  }
  return unknown.ToStatus(absl::StatusCode::kUnimplemented, files.config_path);
}

std::string PeftBaseModel(const AdapterFiles& files) {
  const auto base = files.config.find("base_model_name_or_path");
  return base != files.config.end() && base->is_string() ? base->get<std::string>() : "";
}

}  // namespace shira
