// File: server/model/families/gemma.h
//
// Gemma 2 and the text models of Gemma 3, what transformers loads as Gemma2ForCausalLM and
// Gemma3ForCausalLM: norms before and after attention and MLP whose weights are added to one, a gate
// of GELU, embeddings times the root of their width, windows in most layers. Gemma 2 caps the scores
// of attention and the logits; Gemma 3 has norms of queries and keys, and other rotary positions in
// layers with a window.
//
// GGUF files hold the norms' weights plus one, and say neither which layers have a window nor the
// rotary positions of those, nor what scales the scores: these are as llama.cpp has them.

#ifndef SHIRA_SERVER_MODEL_FAMILIES_GEMMA_H_
#define SHIRA_SERVER_MODEL_FAMILIES_GEMMA_H_

#include "server/model/model_family.h"

namespace shira {

extern const ModelFamily kGemma2Family;
extern const ModelFamily kGemma3Family;

}  // namespace shira

#endif  // SHIRA_SERVER_MODEL_FAMILIES_GEMMA_H_
