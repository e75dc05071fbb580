// File: server/model/families/mixtral.h
//
// Mixtral, what transformers loads as MixtralForCausalLM: Mistral with a mixture of experts in every
// layer. Its GGUF files call themselves llama and say how many experts there are.

#ifndef SHIRA_SERVER_MODEL_FAMILIES_MIXTRAL_H_
#define SHIRA_SERVER_MODEL_FAMILIES_MIXTRAL_H_

#include "server/model/model_family.h"

namespace shira {

extern const ModelFamily kMixtralFamily;

}  // namespace shira

#endif  // SHIRA_SERVER_MODEL_FAMILIES_MIXTRAL_H_
