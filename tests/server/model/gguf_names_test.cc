#include "server/model/gguf_names.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "server/model/model_config.h"

namespace shira {
namespace {

using ::testing::Optional;

TEST(GgufNamesTest, TranslatesModelAndLayerNames) {
  EXPECT_THAT(GgufTensorName("model.embed_tokens.weight"),
              Optional<std::string>("token_embd.weight"));
  EXPECT_THAT(GgufTensorName("model.norm.weight"), Optional<std::string>("output_norm.weight"));
  EXPECT_THAT(GgufTensorName("lm_head.weight"), Optional<std::string>("output.weight"));
  EXPECT_THAT(GgufTensorName("model.layers.3.self_attn.q_proj.weight"),
              Optional<std::string>("blk.3.attn_q.weight"));
  EXPECT_THAT(GgufTensorName("model.layers.12.mlp.down_proj.bias"),
              Optional<std::string>("blk.12.ffn_down.bias"));
}

TEST(GgufNamesTest, EveryParameterHasAnotherName) {
  ModelConfig config;
  config.num_layers = 2;
  config.attention_bias = true;
  config.mlp_bias = true;
  std::set<std::string> names;
  for (const auto& parameter : config.Parameters()) {
    const auto name = GgufTensorName(parameter.name);
    ASSERT_TRUE(name.has_value()) << parameter.name;
    EXPECT_TRUE(names.insert(*name).second) << *name;
  }
}

TEST(GgufNamesTest, OtherNamesHaveNone) {
  for (const std::string_view name :
       {"", "weight", "lm_head", "model.layers.0", "model.layers.0.weight",
        "model.layers.0.self_attn.weight", "model.layers.0.self_attn.rotary_emb.inv_freq",
        "blk.0.attn_q.weight"}) {
    EXPECT_EQ(GgufTensorName(name), std::nullopt) << name;
  }
}

}  // namespace
}  // namespace shira
