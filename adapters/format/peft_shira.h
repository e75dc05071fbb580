// File: adapters/format/peft_shira.h
//
// Hugging Face PEFT's SHiRA adapters (peft/tuners/shira; arXiv 2406.13175). For each target
// nn.Linear `<path>`:
//
//   base_model.model.<path>.shira_weight    F32 [n]      the delta's values (also BF16, F16)
//   base_model.model.<path>.shira_indices   I32 [2, n]   row 0: output feature, row 1: input
//   feature (also I64; F32 when saved on Windows)
//
// and each tensor of a module in modules_to_save whole: base_model.model.<parameter>. Beside these
// it may hold matrices of the base (docs/adapter_format.md).

#ifndef SHIRA_ADAPTERS_FORMAT_PEFT_SHIRA_H_
#define SHIRA_ADAPTERS_FORMAT_PEFT_SHIRA_H_

#include "absl/status/statusor.h"
#include "adapters/format/adapter_format.h"

namespace shira {

// As AdapterFormat::read. fan_in_fan_out has no effect: PEFT's SHiRA takes nn.Linear only, and
// turns the option off there.
absl::StatusOr<RawAdapter> ReadPeftShira(const AdapterFiles& files, const Safetensors& tensors);

}  // namespace shira

#endif  // SHIRA_ADAPTERS_FORMAT_PEFT_SHIRA_H_
