// File: server/model/families/phi3.h
//
// Phi 3 and 3.5, and of Phi 4 what transformers loads as Phi3ForCausalLM and turns whole heads: Llama
// whose q, k and v are one parameter, and gate and up another, with a window in every layer or none.

#ifndef SHIRA_SERVER_MODEL_FAMILIES_PHI3_H_
#define SHIRA_SERVER_MODEL_FAMILIES_PHI3_H_

#include "server/model/model_family.h"

namespace shira {

extern const ModelFamily kPhi3Family;

}  // namespace shira

#endif  // SHIRA_SERVER_MODEL_FAMILIES_PHI3_H_
