#include "server/model/families/stablelm.h"

#include <string>
#include <vector>

#include "base/strings.h"
#include "server/model/families/shared_config.h"
#include "server/model/families/shared_tensors.h"

namespace shira {
namespace {

constexpr RopeRules kRope = {.partial = true, .default_part = 0.25};

void SetArithmetic(ModelConfig& config) {
  config.norm = NormKind::kLayer;
  config.head_norms = HeadNorms::kOwn;
}

ModelConfig FromJson(const ConfigFields& fields) {
  ModelConfig config = SharedFromJson(
      fields,
      {.max_position = 4096, .norm_eps = 1e-5, .norm_eps_key = "layer_norm_eps", .rope = kRope});
  SetArithmetic(config);
  config.attention_bias = fields.Bool("use_qkv_bias", false);
  config.query_key_norms = fields.Bool("qk_layernorm", false);
  config.parallel_residual = fields.Bool("use_parallel_residual", false);
  return config;
}

ModelConfig FromGguf(const GgufFile& gguf, ConfigProblems* problems) {
  ModelConfig config = LayerNormFromGguf(gguf, "stablelm.", kRope, problems);
  SetArithmetic(config);
  config.attention_bias = HasGgufAttentionBias(gguf);
  // The setting of that name is true in files of models that have a second norm and are not.
  config.parallel_residual = gguf.tensors().count("blk.0.ffn_norm.weight") == 0;
  config.query_key_norms = gguf.tensors().count("blk.0.attn_q_norm.weight") != 0;
  return config;
}

std::vector<TensorSpec> Tensors(const ModelConfig& config) {
  return SharedTensors(
      config, {.norms = config.parallel_residual ? SharedNorms::kBeforeBoth : SharedNorms::kBefore,
               .norm_bias = true,
               .query_key_value_bias = config.attention_bias,
               .query_key_norms = config.query_key_norms});
}

}  // namespace

const ModelFamily kStableLmFamily = {.model_type = "stablelm",
                                     .gguf_architecture = "stablelm",
                                     .from_json = &FromJson,
                                     .from_gguf = &FromGguf,
                                     .tensors = &Tensors};

}  // namespace shira
