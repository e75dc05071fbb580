// File: tools/lora.h
//
// Hugging Face PEFT's LoRA adapters (peft/tuners/lora): for each target nn.Linear `<path>`
//
//   base_model.model.<path>.lora_A.weight   [r, in]    F32, BF16 or F16
//   base_model.model.<path>.lora_B.weight   [out, r]
//
// whose delta is B A times lora_alpha / r, or lora_alpha / sqrt(r) with use_rslora.

#ifndef SHIRA_TOOLS_LORA_H_
#define SHIRA_TOOLS_LORA_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "adapters/format/adapter_files.h"
#include "base/parallel.h"
#include "base/safetensors.h"

namespace shira::tools {

struct LoraLayer {
  std::string parameter;  // "model.layers.0.self_attn.q_proj.weight"
  TensorView a;           // [r, cols]
  TensorView b;           // [rows, r]
  float scale = 1;

  int64_t rows() const { return b.shape[0]; }
  int64_t cols() const { return a.shape[1]; }
};

struct LoraAdapter {
  std::vector<LoraLayer> layers;  // ascending by parameter; views into the files
  std::string base_model;         // what the config says; may be empty
};

// Takes a folder's files apart. UNIMPLEMENTED names every option that would change the delta and
// that is not known here (DoRA, alpha_pattern, initialisations that change the base, and any option
// that later versions of PEFT add, where it has a value); INVALID_ARGUMENT lists every tensor that
// is left over, missing or of a wrong shape or dtype.
absl::StatusOr<LoraAdapter> ReadLora(const AdapterFiles& files, const Safetensors& tensors);

// The delta, row-major [rows, cols]. Sums over r in ascending order with fused multiply-add in
// float32 and multiplies by the scale at the end, as PEFT does on a CPU: bit-equal to it where its
// matrix product adds in that order (MKL does).
std::vector<float> DenseDelta(const LoraLayer& layer, const ParallelFor& parallel_for);

}  // namespace shira::tools

#endif  // SHIRA_TOOLS_LORA_H_
