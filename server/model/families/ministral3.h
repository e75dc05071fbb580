// File: server/model/families/ministral3.h
//
// Ministral 3 and what is built alike (Ministral3ForCausalLM): Mistral, with positions beyond the
// first training length by YaRN, and queries that are scaled by position.

#ifndef SHIRA_SERVER_MODEL_FAMILIES_MINISTRAL3_H_
#define SHIRA_SERVER_MODEL_FAMILIES_MINISTRAL3_H_

#include "server/model/model_family.h"

namespace shira {

extern const ModelFamily kMinistral3Family;

}  // namespace shira

#endif  // SHIRA_SERVER_MODEL_FAMILIES_MINISTRAL3_H_
