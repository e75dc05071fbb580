#include "server/model/families/gpt_oss.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/strings.h"
#include "server/model/families/layer_types.h"
#include "server/model/families/mixture.h"
#include "server/model/families/shared_config.h"
#include "server/model/families/shared_tensors.h"

namespace shira {
namespace {

// Each layer that sees everything, counted from the first.
constexpr int64_t kFullInterval = 2;
constexpr int64_t kWindow = 128;
constexpr RopeRules kRope = {.theta = 150000.0};

// The scaling of a model whose configuration describes none.
RopeScaling DefaultScaling() {
  return {.kind = RopeScaling::Kind::kYarn,
          .factor = 32.0,
          .original_max_position = 4096,
          .attention_factor = YarnStrength(32.0, /*mscale=*/1.0),
          .truncate = false};
}

void SetArithmetic(ModelConfig& config) {
  config.norm = NormKind::kRmsFloat;
  config.mixture.rounds_weights = true;
  SetMixtures(config);
}

ModelConfig FromJson(const ConfigFields& fields) {
  ModelConfig config = SharedFromJson(fields, {.max_position = 131072,
                                               .norm_eps = 1e-5,
                                               .head_dim = 64,
                                               .rope = kRope,
                                               .quantisation = "mxfp4"});
  if (!fields.Has("rope_scaling") && !fields.Has("rope_parameters")) {
    config.ropes.front().scaling = DefaultScaling();
  }
  config.attention_bias = fields.Bool("attention_bias", true);
  config.clamped_gate = ClampedGate{.slope = fields.Float("swiglu_alpha", ClampedGate().slope),
                                    .limit = fields.Float("swiglu_limit", ClampedGate().limit)};
  config.mixture = {.experts = fields.Int("num_local_experts", 128),
                    .experts_per_token = fields.Int("num_experts_per_tok", 4),
                    .intermediate_size = config.intermediate_size};
  ReadWindowsBetween(fields, kWindow, kFullInterval, config);
  SetArithmetic(config);
  return config;
}

ModelConfig FromGguf(const GgufFile& gguf, ConfigProblems* problems) {
  const ConfigFields fields = GgufFieldsUnder(gguf, "gpt-oss.", problems);
  std::vector<std::string_view> known = {"attention.sliding_window"};
  known.insert(known.end(), kGgufMixtureSettings.begin(), kGgufMixtureSettings.end());
  ModelConfig config =
      SharedFromGguf(gguf, fields, {.known_settings = std::move(known), .rope = kRope}, problems);
  // As in the models' own configurations; files have no place for it.
  config.ropes.front().scaling.truncate = false;
  config.attention_bias = HasGgufAttentionBias(gguf);
  config.clamped_gate = ClampedGate();
  config.mixture = MixtureFromGguf(fields, config.intermediate_size);
  SetWindowBetween(fields.Int("attention.sliding_window"), kFullInterval, config);
  SetArithmetic(config);
  return config;
}

// The router and the experts of a layer. Names are those of folders whose experts are modules of
// nn.Linear; others have one tensor for the matrices, or the biases, of all experts.
void AddMixture(const ModelConfig& config, int64_t layer, std::vector<TensorSpec>& tensors) {
  constexpr std::string_view kLayers = "model.layers.";
  const int64_t hidden = config.hidden_size;
  const int64_t experts = config.mixture.experts;
  const int64_t wide = config.mixture.intermediate_size;
  const auto add = [&](std::string_view name, std::string_view gguf_name, TensorPlace place,
                       std::vector<int64_t> shape) -> TensorSpec& {
    return tensors.emplace_back(
        NamedTensor(kLayers, name, gguf_name, place, std::move(shape), GgufRows::kSame));
  };
  const auto fused = [&](std::string_view name) {
    return StrCat(kLayers, layer, ".mlp.experts.", name);
  };
  for (const bool bias : {false, true}) {
    const TensorPlace place = {.role = TensorRole::kRouter, .layer = layer, .bias = bias};
    TensorSpec& router =
        add("mlp.router", "ffn_gate_inp", place,
            bias ? std::vector<int64_t>{experts} : std::vector<int64_t>{experts, hidden});
    router.other =
        OtherForm{.name = StrCat(kLayers, layer, ".mlp.router.linear", bias ? ".bias" : ".weight")};
  }
  for (int64_t expert = 0; expert < experts; ++expert) {
    // `parts`: how many tensors of a GGUF file share the rows.
    const auto add_matrix = [&](std::string_view name, std::string_view gguf_name, TensorRole role,
                                int64_t out, int64_t in, int64_t parts) {
      const std::string own = StrCat("mlp.experts.", name, "s.", expert);
      TensorPlace place = {.role = role, .layer = layer, .expert = expert};
      TensorSpec& matrix = add(own, gguf_name, place, {out, in});
      matrix.gguf_part =
          StoredPart{.shape = {experts, out / parts, in}, .first_row = expert * (out / parts)};
      matrix.other = OtherForm{
          .name = fused(name),
          .part =
              StoredPart{.shape = {experts, in, out}, .first_row = expert * in, .transposed = true},
          .mxfp4 = StoredPart{.shape = {experts, out, in}, .first_row = expert * out}};
      place.bias = true;
      TensorSpec& bias = add(own, gguf_name, place, {out});
      bias.gguf_part = StoredPart{.shape = {experts, out / parts}, .first_row = expert};
      bias.other = OtherForm{.name = StrCat(fused(name), "_bias"),
                             .part = StoredPart{.shape = {experts, out}, .first_row = expert}};
    };
    const size_t first = tensors.size();
    add_matrix("gate_up_proj", "ffn_gate_exps", TensorRole::kGateUp, 2 * wide, hidden, /*parts=*/2);
    // Gates and ups alternate, where these files have all gates and all ups.
    for (size_t i = first; i < tensors.size(); ++i) {
      tensors[i].gguf_rows = GgufRows::kEvenBeforeOdd;
      tensors[i].gguf_second_half =
          StrCat("blk.", layer, ".ffn_up_exps", tensors[i].place.bias ? ".bias" : ".weight");
    }
    add_matrix("down_proj", "ffn_down_exps", TensorRole::kDown, hidden, wide, /*parts=*/1);
  }
}

std::vector<TensorSpec> Tensors(const ModelConfig& config) {
  return SharedTensors(config, {.query_key_value_bias = config.attention_bias,
                                .attention_output_bias = config.attention_bias,
                                .attention_sinks = true,
                                .gguf_mlp_norm = "post_attention_norm",
                                .add_mixture = &AddMixture});
}

}  // namespace

const ModelFamily kGptOssFamily = {.model_type = "gpt_oss",
                                   .gguf_architecture = "gpt-oss",
                                   .from_json = &FromJson,
                                   .from_gguf = &FromGguf,
                                   .tensors = &Tensors};

}  // namespace shira
