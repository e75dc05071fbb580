// File: server/model/families/gpt_neox.h
//
// GPT-NeoX and Pythia, what transformers loads as GPTNeoXForCausalLM: layer norms and biases, one
// parameter with the query, key and value of each head together, an MLP without a gate beside the
// attention or after it, and rotary positions of a part of each head. GGUF files have all queries
// first, then all keys and all values.

#ifndef SHIRA_SERVER_MODEL_FAMILIES_GPT_NEOX_H_
#define SHIRA_SERVER_MODEL_FAMILIES_GPT_NEOX_H_

#include "server/model/model_family.h"

namespace shira {

extern const ModelFamily kGptNeoxFamily;

}  // namespace shira

#endif  // SHIRA_SERVER_MODEL_FAMILIES_GPT_NEOX_H_
