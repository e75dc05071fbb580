// File: server/model/families/stablelm.h
//
// StableLM, what transformers loads as StableLmForCausalLM: layer norms with biases, rotary positions
// of a part of each head, perhaps norms of each head of queries and keys, and attention and MLP one
// after the other or beside each other.

#ifndef SHIRA_SERVER_MODEL_FAMILIES_STABLELM_H_
#define SHIRA_SERVER_MODEL_FAMILIES_STABLELM_H_

#include "server/model/model_family.h"

namespace shira {

extern const ModelFamily kStableLmFamily;

}  // namespace shira

#endif  // SHIRA_SERVER_MODEL_FAMILIES_STABLELM_H_
