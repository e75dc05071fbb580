#include "server/model/families/llama.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <set>
#include <string>

namespace shira {
namespace {

ModelConfig Biased() {
  ModelConfig config;
  config.num_layers = 13;
  config.attention_bias = true;
  config.mlp_bias = true;
  return config;
}

TEST(LlamaTest, KnowsTheNamesOfGgufFiles) {
  std::map<std::string, std::string> names;
  for (const TensorSpec& tensor : kLlamaFamily.tensors(Biased())) {
    names[tensor.name] = tensor.gguf_name;
  }
  EXPECT_EQ(names.at("model.embed_tokens.weight"), "token_embd.weight");
  EXPECT_EQ(names.at("model.norm.weight"), "output_norm.weight");
  EXPECT_EQ(names.at("lm_head.weight"), "output.weight");
  EXPECT_EQ(names.at("model.layers.3.self_attn.q_proj.weight"), "blk.3.attn_q.weight");
  EXPECT_EQ(names.at("model.layers.12.mlp.down_proj.bias"), "blk.12.ffn_down.bias");
}

TEST(LlamaTest, EveryTensorHasNamesOfItsOwn) {
  std::set<std::string> names, gguf_names;
  for (const TensorSpec& tensor : kLlamaFamily.tensors(Biased())) {
    EXPECT_TRUE(names.insert(tensor.name).second) << tensor.name;
    EXPECT_FALSE(tensor.gguf_name.empty()) << tensor.name;
    EXPECT_TRUE(gguf_names.insert(tensor.gguf_name).second) << tensor.gguf_name;
  }
}

TEST(LlamaTest, RotaryRowsAreThoseOfQueriesAndKeys) {
  std::set<std::string> interleaved;
  ModelConfig config = Biased();
  config.num_layers = 1;
  for (const TensorSpec& tensor : kLlamaFamily.tensors(config)) {
    if (tensor.gguf_rows == GgufRows::kInterleavedHalves) interleaved.insert(tensor.gguf_name);
  }
  EXPECT_THAT(interleaved, ::testing::ElementsAre("blk.0.attn_k.bias", "blk.0.attn_k.weight",
                                                  "blk.0.attn_q.bias", "blk.0.attn_q.weight"));
}

TEST(LlamaTest, TiedEmbeddingsHaveTheOutputMatrixsNameToo) {
  ModelConfig config = Biased();
  config.tie_word_embeddings = true;
  std::map<std::string, std::string> second_names;
  for (const TensorSpec& tensor : kLlamaFamily.tensors(config)) {
    EXPECT_NE(tensor.place.role, TensorRole::kOutput);
    if (!tensor.second_name.empty()) second_names[tensor.name] = tensor.second_name;
  }
  EXPECT_THAT(second_names, ::testing::ElementsAre(
                                ::testing::Pair("model.embed_tokens.weight", "lm_head.weight")));
}

}  // namespace
}  // namespace shira
