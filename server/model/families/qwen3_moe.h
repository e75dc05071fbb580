// File: server/model/families/qwen3_moe.h
//
// The mixtures of experts of Qwen 3, what transformers loads as Qwen3MoeForCausalLM: Qwen 3 with a
// mixture of experts in every layer, or in those that the configuration names.

#ifndef SHIRA_SERVER_MODEL_FAMILIES_QWEN3_MOE_H_
#define SHIRA_SERVER_MODEL_FAMILIES_QWEN3_MOE_H_

#include "server/model/model_family.h"

namespace shira {

extern const ModelFamily kQwen3MoeFamily;

}  // namespace shira

#endif  // SHIRA_SERVER_MODEL_FAMILIES_QWEN3_MOE_H_
