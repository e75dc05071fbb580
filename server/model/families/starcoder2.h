// File: server/model/families/starcoder2.h
//
// StarCoder 2, what transformers loads as Starcoder2ForCausalLM: layer norms and biases everywhere, an
// MLP without a gate, and a window in every layer or none. GGUF files say nothing of a window.

#ifndef SHIRA_SERVER_MODEL_FAMILIES_STARCODER2_H_
#define SHIRA_SERVER_MODEL_FAMILIES_STARCODER2_H_

#include "server/model/model_family.h"

namespace shira {

extern const ModelFamily kStarcoder2Family;

}  // namespace shira

#endif  // SHIRA_SERVER_MODEL_FAMILIES_STARCODER2_H_
