// File: server/model/families/llama.h
//
// Llama 1 to 3, SmolLM, SmolLM2 and others that transformers loads as LlamaForCausalLM.
//
// GGUF files have the rows of q and k in the order of interleaved rotary positions; biases are found
// by their tensors. The tensor rope_freqs.weight (Llama 3.1 and later) is supported where it holds
// what Llama 3's rule gives with Meta's constants.

#ifndef SHIRA_SERVER_MODEL_FAMILIES_LLAMA_H_
#define SHIRA_SERVER_MODEL_FAMILIES_LLAMA_H_

#include <string_view>

#include "server/model/model_family.h"

namespace shira {

extern const ModelFamily kLlamaFamily;

// The tensor of GGUF files with Llama 3's factors of frequencies: a setting.
inline constexpr std::string_view kGgufRotaryFactors = "rope_freqs.weight";

}  // namespace shira

#endif  // SHIRA_SERVER_MODEL_FAMILIES_LLAMA_H_
