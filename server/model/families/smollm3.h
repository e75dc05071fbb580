// File: server/model/families/smollm3.h
//
// SmolLM 3, what transformers loads as SmolLM3ForCausalLM: Llama with layers whose attention knows no
// positions, every fourth one unless the configuration names others. GGUF files don't name them, and
// have the rows of q and k in the order of interleaved rotary positions in every layer.

#ifndef SHIRA_SERVER_MODEL_FAMILIES_SMOLLM3_H_
#define SHIRA_SERVER_MODEL_FAMILIES_SMOLLM3_H_

#include "server/model/model_family.h"

namespace shira {

extern const ModelFamily kSmolLm3Family;

}  // namespace shira

#endif  // SHIRA_SERVER_MODEL_FAMILIES_SMOLLM3_H_
