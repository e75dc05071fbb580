// File: adapters/format/peft_supertuning.h
//
// Hugging Face PEFT's Super-Tuning adapters (peft/tuners/supertuning; arXiv 2607.09287) without
// their low-rank part. For each target nn.Linear `<path>`:
//
//   base_model.model.<path>.supertuning_values    F32 [n]   added to the weight (also BF16, F16)
//   base_model.model.<path>.supertuning_indices   I32 [n]   row * in_features + column, in the
//   order of torch.topk (also I64)
//
// and each tensor of a module in modules_to_save whole, as in peft_shira.h.

#ifndef SHIRA_ADAPTERS_FORMAT_PEFT_SUPERTUNING_H_
#define SHIRA_ADAPTERS_FORMAT_PEFT_SUPERTUNING_H_

#include "absl/status/statusor.h"
#include "adapters/format/adapter_format.h"

namespace shira {

// As AdapterFormat::read; the result rounds its values, as PEFT does before it adds them.
// UNIMPLEMENTED for the low-rank part (option r), and for indices that were not saved: PEFT finds
// them again with torch.topk over the base weights, whose order among equal magnitudes is its own.
absl::StatusOr<RawAdapter> ReadPeftSupertuning(const AdapterFiles& files,
                                               const Safetensors& tensors);

}  // namespace shira

#endif  // SHIRA_ADAPTERS_FORMAT_PEFT_SUPERTUNING_H_
