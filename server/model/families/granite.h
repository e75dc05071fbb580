// File: server/model/families/granite.h
//
// Granite: Llama whose embeddings, scores, branches and logits are multiplied by numbers of its own.

#ifndef SHIRA_SERVER_MODEL_FAMILIES_GRANITE_H_
#define SHIRA_SERVER_MODEL_FAMILIES_GRANITE_H_

#include "server/model/model_family.h"

namespace shira {

// Granite 3 and others that transformers loads as GraniteForCausalLM. In GGUF files Granite 4 has the
// same name.
extern const ModelFamily kGraniteFamily;

// Granite 4 and others that transformers loads as GraniteMoeHybridForCausalLM, as far as their layers
// are attention and a dense MLP, whose gate and up are one parameter.
extern const ModelFamily kGraniteHybridFamily;

}  // namespace shira

#endif  // SHIRA_SERVER_MODEL_FAMILIES_GRANITE_H_
