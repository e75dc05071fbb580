// File: adapters/format/peft_layout.h
//
// What PEFT's adapter folders have in common, whatever the tuner: names that begin with
// "base_model.model.", options in adapter_config.json, and whole modules (modules_to_save).

#ifndef SHIRA_ADAPTERS_FORMAT_PEFT_LAYOUT_H_
#define SHIRA_ADAPTERS_FORMAT_PEFT_LAYOUT_H_

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "adapters/format/adapter_format.h"
#include "base/problem_list.h"

namespace shira {

inline constexpr absl::string_view kPeftPrefix = "base_model.model.";

// The tensors of one target layer, as far as they were found.
struct PeftLayer {
  const TensorView* values = nullptr;
  const TensorView* indices = nullptr;
};

struct PeftTensors {
  std::map<std::string, PeftLayer> layers;  // by module path, "model.layers.0.self_attn.q_proj"
  std::vector<RawDelta> whole;              // those of modules_to_save
};

// Sorts a file's tensors: "<prefix><path><values_suffix>" and "<prefix><path><indices_suffix>" make
// a layer, those inside a module that modules_to_save names are whole, everything else is reported
// as left over.
PeftTensors CollectPeftTensors(const AdapterFiles& files, const Safetensors& tensors,
                               absl::string_view values_suffix, absl::string_view indices_suffix,
                               ProblemList& problems);

// UNIMPLEMENTED naming every option that has a value (not null, false, "" or empty) and is neither
// in `known` nor one that PEFT writes for every tuner.
absl::Status CheckPeftOptions(const AdapterFiles& files, absl::Span<const absl::string_view> known);

// "base_model_name_or_path"; empty when it is not there.
std::string PeftBaseModel(const AdapterFiles& files);

}  // namespace shira

#endif  // SHIRA_ADAPTERS_FORMAT_PEFT_LAYOUT_H_
