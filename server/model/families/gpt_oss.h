// File: server/model/families/gpt_oss.h
//
// gpt-oss, what transformers loads as GptOssForCausalLM: attention with sinks, and with windows in every
// second layer; a mixture of experts in every layer, whose gates are clamped.

#ifndef SHIRA_SERVER_MODEL_FAMILIES_GPT_OSS_H_
#define SHIRA_SERVER_MODEL_FAMILIES_GPT_OSS_H_

#include "server/model/model_family.h"

namespace shira {

extern const ModelFamily kGptOssFamily;

}  // namespace shira

#endif  // SHIRA_SERVER_MODEL_FAMILIES_GPT_OSS_H_
