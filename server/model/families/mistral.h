// File: server/model/families/mistral.h
//
// Mistral, what transformers loads as MistralForCausalLM: Llama with a window in every layer. Its GGUF
// files call themselves llama and say nothing of a window.

#ifndef SHIRA_SERVER_MODEL_FAMILIES_MISTRAL_H_
#define SHIRA_SERVER_MODEL_FAMILIES_MISTRAL_H_

#include "server/model/model_family.h"

namespace shira {

extern const ModelFamily kMistralFamily;

}  // namespace shira

#endif  // SHIRA_SERVER_MODEL_FAMILIES_MISTRAL_H_
