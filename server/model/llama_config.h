// File: server/model/llama_config.h
//
// The family "llama": Llama 1 to 3, SmolLM, SmolLM2 and others that transformers loads as
// LlamaForCausalLM.

#ifndef SHIRA_SERVER_MODEL_LLAMA_CONFIG_H_
#define SHIRA_SERVER_MODEL_LLAMA_CONFIG_H_

#include "base/gguf_file.h"
#include "server/model/config_fields.h"
#include "server/model/model_config.h"

namespace shira {

// Defaults are those of transformers' LlamaConfig, except that sizes must be given.
ModelConfig LlamaFromJson(const ConfigFields& fields);

// Keys are those that llama.cpp writes. Embeddings are tied when there is no output.weight, biases
// are found by their tensors. The tensor rope_freqs.weight (Llama 3.1 and later) is supported where
// it holds what Llama 3's rule gives with Meta's constants.
ModelConfig LlamaFromGguf(const GgufFile& gguf, ConfigProblems* problems);

}  // namespace shira

#endif  // SHIRA_SERVER_MODEL_LLAMA_CONFIG_H_
