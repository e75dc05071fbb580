#include "server/model/gguf_names.h"

#include "base/strings.h"

namespace shira {
namespace {

struct NamePair {
  std::string_view hugging_face;
  std::string_view gguf;
};

constexpr std::string_view kLayerPrefix = "model.layers.";

// Before ".weight" or ".bias".
constexpr NamePair kModelNames[] = {
    {"model.embed_tokens", "token_embd"}, {"model.norm", "output_norm"}, {"lm_head", "output"}};
// The same, after "model.layers.N." and "blk.N.".
constexpr NamePair kLayerNames[] = {
    {"input_layernorm", "attn_norm"},    {"self_attn.q_proj", "attn_q"},
    {"self_attn.k_proj", "attn_k"},      {"self_attn.v_proj", "attn_v"},
    {"self_attn.o_proj", "attn_output"}, {"post_attention_layernorm", "ffn_norm"},
    {"mlp.gate_proj", "ffn_gate"},       {"mlp.up_proj", "ffn_up"},
    {"mlp.down_proj", "ffn_down"}};

template <size_t N>
std::optional<std::string_view> GgufNameIn(const NamePair (&names)[N], std::string_view wanted) {
  for (const NamePair& pair : names) {
    if (pair.hugging_face == wanted) return pair.gguf;
  }
  return std::nullopt;
}

}  // namespace

std::optional<std::string> GgufTensorName(std::string_view parameter) {
  const size_t last_dot = parameter.rfind('.');
  if (last_dot == std::string_view::npos) return std::nullopt;
  const std::string_view kind = parameter.substr(last_dot);  // ".weight" or ".bias"
  std::string_view module = parameter.substr(0, last_dot);

  if (module.substr(0, kLayerPrefix.size()) != kLayerPrefix) {
    const auto name = GgufNameIn(kModelNames, module);
    return name ? std::optional(StrCat(*name, kind)) : std::nullopt;
  }
  module.remove_prefix(kLayerPrefix.size());
  const size_t dot = module.find('.');
  if (dot == std::string_view::npos) return std::nullopt;
  const auto name = GgufNameIn(kLayerNames, module.substr(dot + 1));
  return name ? std::optional(StrCat("blk.", module.substr(0, dot), ".", *name, kind))
              : std::nullopt;
}

}  // namespace shira
