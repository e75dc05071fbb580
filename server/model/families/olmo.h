// File: server/model/families/olmo.h
//
// OLMo 2 and 3, what transformers loads as Olmo2ForCausalLM and Olmo3ForCausalLM: norms after attention
// and MLP instead of before, and norms of all queries and of all keys of a token together. OLMo 3 has
// windows in three of four layers. GGUF files of both call themselves olmo2; those with a window are
// OLMo 3's, and every fourth layer sees everything, as in llama.cpp.

#ifndef SHIRA_SERVER_MODEL_FAMILIES_OLMO_H_
#define SHIRA_SERVER_MODEL_FAMILIES_OLMO_H_

#include "server/model/model_family.h"

namespace shira {

extern const ModelFamily kOlmo2Family;
extern const ModelFamily kOlmo3Family;

}  // namespace shira

#endif  // SHIRA_SERVER_MODEL_FAMILIES_OLMO_H_
