// File: server/model/families/granite.h
//
// Granite 3 and others that transformers loads as GraniteForCausalLM: Llama whose embeddings, scores,
// branches and logits are multiplied by numbers of its own.

#ifndef SHIRA_SERVER_MODEL_FAMILIES_GRANITE_H_
#define SHIRA_SERVER_MODEL_FAMILIES_GRANITE_H_

#include "server/model/model_family.h"

namespace shira {

extern const ModelFamily kGraniteFamily;

}  // namespace shira

#endif  // SHIRA_SERVER_MODEL_FAMILIES_GRANITE_H_
