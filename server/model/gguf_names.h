// File: server/model/gguf_names.h
//
// Hugging Face's parameter names and GGUF's for a decoder in Llama's shape.

#ifndef SHIRA_SERVER_MODEL_GGUF_NAMES_H_
#define SHIRA_SERVER_MODEL_GGUF_NAMES_H_

#include <optional>
#include <string>
#include <string_view>

namespace shira {

// "model.layers.3.self_attn.q_proj.weight" -> "blk.3.attn_q.weight"; nullopt for a name that no
// such decoder has.
std::optional<std::string> GgufTensorName(std::string_view parameter);

}  // namespace shira

#endif  // SHIRA_SERVER_MODEL_GGUF_NAMES_H_
