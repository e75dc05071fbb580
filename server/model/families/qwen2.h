// File: server/model/families/qwen2.h
//
// Qwen 2 and 2.5, what transformers loads as Qwen2ForCausalLM: Llama with biases of q, k and v, and
// windows in the layers that the configuration names.

#ifndef SHIRA_SERVER_MODEL_FAMILIES_QWEN2_H_
#define SHIRA_SERVER_MODEL_FAMILIES_QWEN2_H_

#include "server/model/model_family.h"

namespace shira {

extern const ModelFamily kQwen2Family;

}  // namespace shira

#endif  // SHIRA_SERVER_MODEL_FAMILIES_QWEN2_H_
