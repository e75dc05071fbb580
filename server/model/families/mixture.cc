#include "server/model/families/mixture.h"

#include <string>

#include "base/strings.h"
#include "server/model/families/shared_tensors.h"

namespace shira {
namespace {

constexpr std::string_view kLayers = "model.layers.";
// What transformers 5 calls a mixture's tensors, whatever the hub's files call them.
constexpr std::string_view kNewerRouter = "mlp.gate.weight";
constexpr std::string_view kNewerGateUp = "mlp.experts.gate_up_proj";
constexpr std::string_view kNewerDown = "mlp.experts.down_proj";

constexpr int64_t kSoftmax = 1;  // of "expert_gating_func"

}  // namespace

void AddMixtureTensors(const ModelConfig& config, int64_t layer, const MixtureNames& names,
                       std::vector<TensorSpec>& tensors) {
  const int64_t hidden = config.hidden_size;
  const int64_t experts = config.mixture.experts;
  const int64_t wide = config.mixture.intermediate_size;
  const std::string newer = StrCat(kLayers, layer, ".");
  const auto add = [&](std::string_view name, std::string_view gguf_name, TensorPlace place,
                       int64_t out, int64_t in) -> TensorSpec& {
    place.layer = layer;
    return tensors.emplace_back(
        NamedTensor(kLayers, name, gguf_name, place, {out, in}, GgufRows::kSame));
  };
  TensorSpec& router =
      add(names.router, "ffn_gate_inp", {.role = TensorRole::kRouter}, experts, hidden);
  if (const std::string name = StrCat(newer, kNewerRouter); name != router.name) {
    router.other = OtherForm{.name = name};
  }
  for (int64_t expert = 0; expert < experts; ++expert) {
    const std::string path = StrCat(names.experts, ".", expert, ".");
    const auto add_gate_up = [&](std::string_view name, std::string_view gguf_name, int64_t half) {
      TensorSpec& tensor = add(StrCat(path, name), gguf_name,
                               {.role = TensorRole::kGateUp, .expert = expert}, wide, hidden);
      tensor.gguf_part = StoredPart{.shape = {experts, wide, hidden}, .first_row = expert * wide};
      tensor.other = OtherForm{.name = StrCat(newer, kNewerGateUp),
                               .part = StoredPart{.shape = {experts, 2 * wide, hidden},
                                                  .first_row = (2 * expert + half) * wide}};
    };
    add_gate_up(names.gate, "ffn_gate_exps", 0);
    add_gate_up(names.up, "ffn_up_exps", 1);
    TensorSpec& down = add(StrCat(path, names.down), "ffn_down_exps",
                           {.role = TensorRole::kDown, .expert = expert}, hidden, wide);
    const StoredPart part = {.shape = {experts, hidden, wide}, .first_row = expert * hidden};
    down.gguf_part = part;
    down.other = OtherForm{.name = StrCat(newer, kNewerDown), .part = part};
  }
}

Mixture MixtureFromGguf(const ConfigFields& fields, int64_t intermediate_size) {
  Mixture mixture = {
      .experts = fields.Int("expert_count"),
      .experts_per_token = fields.Int("expert_used_count"),
      .intermediate_size = fields.Int("expert_feed_forward_length", intermediate_size)};
  if (const int64_t kind = fields.Int("expert_gating_func", kSoftmax); kind != kSoftmax) {
    fields.Unsupported("expert_gating_func", kind, "; known is ", kSoftmax, ", softmax");
  }
  if (!fields.Bool("expert_weights_norm", true)) {
    fields.Unsupported("expert_weights_norm", "false; llama.cpp divides the weights by their sum");
  }
  if (const double scale = fields.Float("expert_weights_scale", 0.0);
      scale != 0.0 && scale != 1.0) {
    fields.Unsupported("expert_weights_scale", scale, "; known are 0 and 1, which change nothing");
  }
  return mixture;
}

void SetMixtures(ModelConfig& config) {
  for (LayerSpec& layer : config.layers) layer.mlp = MlpKind::kMixture;
}

}  // namespace shira
