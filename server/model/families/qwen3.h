// File: server/model/families/qwen3.h
//
// Qwen 3, what transformers loads as Qwen3ForCausalLM (not its mixtures of experts): Llama with norms
// of each head of q and k, heads of a width of their own, and windows as in Qwen 2.

#ifndef SHIRA_SERVER_MODEL_FAMILIES_QWEN3_H_
#define SHIRA_SERVER_MODEL_FAMILIES_QWEN3_H_

#include <vector>

#include "server/model/model_config.h"
#include "server/model/model_family.h"
#include "server/model/tensor_spec.h"

namespace shira {

extern const ModelFamily kQwen3Family;

// Its tensors, and those of its mixtures of experts.
std::vector<TensorSpec> Qwen3Tensors(const ModelConfig& config);

}  // namespace shira

#endif  // SHIRA_SERVER_MODEL_FAMILIES_QWEN3_H_
