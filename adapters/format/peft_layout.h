// File: adapters/format/peft_layout.h
//
// What PEFT's adapter folders have in common, whatever the tuner: names that begin with
// "base_model.model.", options in adapter_config.json, and whole modules (modules_to_save).

#ifndef SHIRA_ADAPTERS_FORMAT_PEFT_LAYOUT_H_
#define SHIRA_ADAPTERS_FORMAT_PEFT_LAYOUT_H_

#include <optional>
#include <string>
#include <string_view>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "adapters/format/adapter_format.h"
#include "base/problem_list.h"

namespace shira {

inline constexpr absl::string_view kPeftPrefix = "base_model.model.";

// What a tuner calls a layer's tensors.
struct PeftSuffixes {
  absl::string_view values;
  absl::string_view indices;
};

// Takes one layer apart, with both tensors there; nullopt when `problems` got one. `path` is the
// module's, "model.layers.0.self_attn.q_proj".
using PeftLayerReader =
    absl::FunctionRef<std::optional<RawDelta>(const std::string& path, const TensorView& values,
                                              const TensorView& indices, ProblemList& problems)>;

// The whole adapter but for its options: "<prefix><path><suffix>" are a layer's tensors, those
// inside a module that modules_to_save names, the embeddings, and what lies beneath a layer or a
// module ("<path>.base_layer.weight") are whole parameters. INVALID_ARGUMENT lists what is missing,
// what is left over and every problem of read_layer.
absl::StatusOr<RawAdapter> ReadPeftLayers(const AdapterFiles& files, const Safetensors& tensors,
                                          const PeftSuffixes& suffixes, PeftLayerReader read_layer);

// UNIMPLEMENTED naming every option that has a value (not null, false, "" or empty) and is neither
// in `known` nor one that PEFT writes for every tuner.
absl::Status CheckPeftOptions(const AdapterFiles& files, absl::Span<const absl::string_view> known);

// "base_model_name_or_path"; empty when it is not there.
std::string PeftBaseModel(const AdapterFiles& files);

}  // namespace shira

#endif  // SHIRA_ADAPTERS_FORMAT_PEFT_LAYOUT_H_
