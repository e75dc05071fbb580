// What each family reads of a configuration, and what it refuses by name. Whether the models compute
// what they should is families_transformers_test.py's.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "server/model/model_config.h"
#include "tests/testutil/status_matchers.h"
#include "tests/testutil/temp_folder.h"

namespace shira {
namespace {

using ::nlohmann::json;
using ::shira::testing::StatusIs;
using ::shira::testing::TempFolder;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsSupersetOf;
using ::testing::Not;

class FamiliesTest : public ::testing::Test {
 protected:
  // A small configuration with these members put in or replaced.
  absl::StatusOr<ModelConfig> Read(const std::string& family,
                                   const json& changes = json::object()) {
    json config = {{"model_type", family},     {"hidden_size", 64},
                   {"num_hidden_layers", 4},   {"num_attention_heads", 4},
                   {"num_key_value_heads", 2}, {"intermediate_size", 128},
                   {"vocab_size", 320}};
    config.update(changes);
    folder_.Write("config.json", config.dump());
    return ReadHuggingFaceConfig(folder_.path());
  }

  static std::vector<int64_t> WindowsOf(const ModelConfig& config) {
    std::vector<int64_t> windows;
    for (const LayerSpec& layer : config.layers) windows.push_back(layer.window);
    return windows;
  }
  static std::vector<bool> RotaryLayersOf(const ModelConfig& config) {
    std::vector<bool> rotary;
    for (const LayerSpec& layer : config.layers) {
      rotary.push_back(layer.positions == Positions::kRotary);
    }
    return rotary;
  }
  static std::vector<bool> MixturesOf(const ModelConfig& config) {
    std::vector<bool> mixtures;
    for (const LayerSpec& layer : config.layers) {
      mixtures.push_back(layer.mlp == MlpKind::kMixture);
    }
    return mixtures;
  }
  static std::set<std::string> NamesOf(const ModelConfig& config) {
    std::set<std::string> names;
    for (const TensorSpec& tensor : config.Tensors()) names.insert(tensor.name);
    return names;
  }

  const TempFolder folder_;
};

TEST_F(FamiliesTest, Qwen2HasBiasesOfQueriesKeysAndValuesAlone) {
  ASSERT_OK_AND_ASSIGN(const ModelConfig config, Read("qwen2"));
  EXPECT_EQ(config.architecture, "qwen2");
  EXPECT_EQ(config.max_position, 32768);
  EXPECT_FALSE(config.tie_word_embeddings);
  std::set<std::string> biases;
  for (const std::string& name : NamesOf(config)) {
    if (name.find("layers.3.") != std::string::npos && name.ends_with(".bias")) biases.insert(name);
  }
  EXPECT_THAT(biases, ElementsAre("model.layers.3.self_attn.k_proj.bias",
                                  "model.layers.3.self_attn.q_proj.bias",
                                  "model.layers.3.self_attn.v_proj.bias"));
}

TEST_F(FamiliesTest, QwensLayersHaveWindowsWhereTheConfigurationSaysSo) {
  for (const std::string family : {"qwen2", "qwen3"}) {
    const auto windows = [&](const json& changes) -> std::vector<int64_t> {
      const absl::StatusOr<ModelConfig> config = Read(family, changes);
      EXPECT_TRUE(config.ok()) << config.status();
      return config.ok() ? WindowsOf(*config) : std::vector<int64_t>();
    };
    EXPECT_THAT(windows({{"sliding_window", 16}, {"max_window_layers", 1}}),
                ElementsAre(0, 0, 0, 0));
    const json used = {{"use_sliding_window", true}, {"sliding_window", 16}};
    const auto with = [&](json changes) {
      changes.update(used);
      return windows(changes);
    };
    EXPECT_THAT(with({{"max_window_layers", 1}}), ElementsAre(0, 16, 16, 16));
    EXPECT_THAT(with({}), ElementsAre(0, 0, 0, 0));  // from layer 28 on
    const std::string slides = "sliding_attention", full = "full_attention";
    EXPECT_THAT(with({{"layer_types", {slides, full, full, slides}}}), ElementsAre(16, 0, 0, 16));
    EXPECT_THAT(
        windows(
            {{"use_sliding_window", true}, {"sliding_window", nullptr}, {"max_window_layers", 0}}),
        ElementsAre(0, 0, 0, 0));
    EXPECT_THAT(windows({{"use_sliding_window", true}, {"max_window_layers", 3}}),
                ElementsAre(0, 0, 0, 4096));
  }
}

TEST_F(FamiliesTest, QwenRefusesLayersThatItDoesNotKnow) {
  for (const std::string family : {"qwen2", "qwen3"}) {
    EXPECT_THAT(Read(family, {{"layer_types", {"full_attention", "x", "x", "x"}}}),
                StatusIs(absl::StatusCode::kUnimplemented, HasSubstr("layer_types: 'x'")));
    EXPECT_THAT(Read(family, {{"layer_types", {"full_attention"}}}),
                StatusIs(absl::StatusCode::kInvalidArgument,
                         HasSubstr("layer_types: expected one for each of 4 layers, found 1")));
    EXPECT_THAT(Read(family, {{"layer_types", {"full_attention", 1, 2, 3}}}),
                StatusIs(absl::StatusCode::kInvalidArgument,
                         HasSubstr("layer_types: expected a list of strings, found array")));
    EXPECT_THAT(Read(family, {{"layer_types", json::array({"sliding_attention", "full_attention",
                                                           "full_attention", "full_attention"})}}),
                StatusIs(absl::StatusCode::kInvalidArgument,
                         HasSubstr("sliding_attention without a sliding_window")));
    EXPECT_THAT(Read(family, {{"use_sliding_window", true}, {"sliding_window", 0}}),
                StatusIs(absl::StatusCode::kInvalidArgument,
                         HasSubstr("sliding_window: expected more than 0 positions, found 0")));
  }
}

TEST_F(FamiliesTest, Qwen3HasNormsOfHeadsWhoseWidthIsItsOwn) {
  ASSERT_OK_AND_ASSIGN(ModelConfig config, Read("qwen3"));
  EXPECT_EQ(config.head_dim, 128);
  ASSERT_OK_AND_ASSIGN(config, Read("qwen3", {{"head_dim", 24}}));
  EXPECT_EQ(config.head_dim, 24);
  EXPECT_THAT(NamesOf(config), IsSupersetOf({"model.layers.0.self_attn.q_norm.weight",
                                             "model.layers.3.self_attn.k_norm.weight"}));
  EXPECT_THAT(NamesOf(config), Not(::testing::Contains("model.layers.0.self_attn.q_proj.bias")));
  ASSERT_OK_AND_ASSIGN(config, Read("qwen3", {{"attention_bias", true}}));
  EXPECT_THAT(NamesOf(config), IsSupersetOf({"model.layers.0.self_attn.q_proj.bias",
                                             "model.layers.0.self_attn.o_proj.bias"}));
}

TEST_F(FamiliesTest, MixtralHasAMixtureInEveryLayer) {
  ASSERT_OK_AND_ASSIGN(ModelConfig config, Read("mixtral"));
  EXPECT_EQ(config.mixture.experts, 8);
  EXPECT_EQ(config.mixture.experts_per_token, 2);
  EXPECT_EQ(config.mixture.intermediate_size, 128);
  EXPECT_TRUE(config.mixture.normalised);
  EXPECT_EQ(config.norm_eps, 1e-5);
  EXPECT_EQ(config.ropes[0].theta, 1e6);
  EXPECT_THAT(WindowsOf(config), ElementsAre(0, 0, 0, 0));
  EXPECT_THAT(MixturesOf(config), ElementsAre(true, true, true, true));
  EXPECT_THAT(NamesOf(config),
              IsSupersetOf({"model.layers.0.block_sparse_moe.gate.weight",
                            "model.layers.0.block_sparse_moe.experts.0.w1.weight",
                            "model.layers.3.block_sparse_moe.experts.7.w2.weight",
                            "model.layers.3.block_sparse_moe.experts.7.w3.weight"}));
  EXPECT_THAT(NamesOf(config), Not(::testing::Contains("model.layers.0.mlp.gate_proj.weight")));
  ASSERT_OK_AND_ASSIGN(
      config, Read("mixtral",
                   {{"num_local_experts", 3}, {"num_experts_per_tok", 1}, {"sliding_window", 16}}));
  EXPECT_EQ(config.mixture.experts, 3);
  EXPECT_EQ(config.mixture.experts_per_token, 1);
  EXPECT_THAT(WindowsOf(config), ElementsAre(16, 16, 16, 16));
  EXPECT_THAT(Read("mixtral", {{"num_experts_per_tok", 9}}),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("experts per token: expected 1 to 8, found 9")));
}

TEST_F(FamiliesTest, Qwen3MoeSaysWhichLayersHaveAMixture) {
  ASSERT_OK_AND_ASSIGN(ModelConfig config, Read("qwen3_moe"));
  EXPECT_EQ(config.mixture.experts, 128);
  EXPECT_EQ(config.mixture.experts_per_token, 8);
  EXPECT_EQ(config.mixture.intermediate_size, 768);
  EXPECT_FALSE(config.mixture.normalised);
  EXPECT_THAT(MixturesOf(config), ElementsAre(true, true, true, true));
  ASSERT_OK_AND_ASSIGN(config, Read("qwen3_moe", {{"num_experts", 5},
                                                  {"num_experts_per_tok", 3},
                                                  {"moe_intermediate_size", 24},
                                                  {"norm_topk_prob", true},
                                                  {"decoder_sparse_step", 2},
                                                  {"mlp_only_layers", {1}}}));
  EXPECT_TRUE(config.mixture.normalised);
  EXPECT_THAT(MixturesOf(config), ElementsAre(false, false, false, true));
  EXPECT_THAT(NamesOf(config),
              IsSupersetOf({"model.layers.0.mlp.gate_proj.weight", "model.layers.3.mlp.gate.weight",
                            "model.layers.3.mlp.experts.4.up_proj.weight",
                            "model.layers.3.self_attn.q_norm.weight"}));
  EXPECT_THAT(Read("qwen3_moe", {{"decoder_sparse_step", 0}}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("decoder_sparse_step")));
}

// transformers 5 has another name for the router of some families, and one tensor for all experts.
TEST_F(FamiliesTest, MixturesHaveOtherNamesInMemory) {
  const std::string layer = "model.layers.2.";
  for (const std::string family : {"mixtral", "qwen3_moe"}) {
    ASSERT_OK_AND_ASSIGN(const ModelConfig config, Read(family));
    const OtherNames others = OtherNamesOf(config.Tensors());
    const bool is_mixtral = family == "mixtral";
    const std::string block = layer + (is_mixtral ? "block_sparse_moe." : "mlp.");
    EXPECT_EQ(others.renamed.size(), is_mixtral ? 4 : 0);
    if (is_mixtral) {
      EXPECT_EQ(others.renamed.at(layer + "mlp.gate.weight"), block + "gate.weight");
    }
    EXPECT_EQ(others.fused.size(), 8);
    EXPECT_EQ(others.fused.at(layer + "mlp.experts.gate_up_proj"),
              block + (is_mixtral ? "experts.0.w1.weight" : "experts.0.gate_proj.weight"));
    EXPECT_EQ(others.fused.at(layer + "mlp.experts.down_proj"),
              block + (is_mixtral ? "experts.0.w2.weight" : "experts.0.down_proj.weight"));
  }
}

TEST_F(FamiliesTest, GptOssHasSinksWindowsAndClampedGates) {
  ASSERT_OK_AND_ASSIGN(ModelConfig config, Read("gpt_oss"));
  EXPECT_EQ(config.head_dim, 64);
  EXPECT_EQ(config.mixture.experts, 128);
  EXPECT_EQ(config.mixture.experts_per_token, 4);
  EXPECT_EQ(config.mixture.intermediate_size, 128);
  EXPECT_THAT(MixturesOf(config), ElementsAre(true, true, true, true));
  EXPECT_THAT(WindowsOf(config), ElementsAre(128, 0, 128, 0));
  ASSERT_TRUE(config.clamped_gate.has_value());
  EXPECT_EQ(config.clamped_gate->slope, 1.702);
  EXPECT_EQ(config.clamped_gate->limit, 7.0);
  EXPECT_EQ(config.ropes[0].theta, 150000.0);
  EXPECT_EQ(config.ropes[0].scaling.kind, RopeScaling::Kind::kYarn);
  EXPECT_EQ(config.ropes[0].scaling.original_max_position, 4096);
  EXPECT_FLOAT_EQ(static_cast<float>(config.ropes[0].scaling.attention_factor), 1.3465736f);
  EXPECT_FALSE(config.ropes[0].scaling.truncate);
  EXPECT_THAT(
      NamesOf(config),
      IsSupersetOf({"model.layers.1.self_attn.sinks", "model.layers.1.self_attn.o_proj.bias",
                    "model.layers.1.mlp.router.weight", "model.layers.1.mlp.router.bias",
                    "model.layers.3.mlp.experts.gate_up_projs.127.weight",
                    "model.layers.3.mlp.experts.gate_up_projs.127.bias",
                    "model.layers.3.mlp.experts.down_projs.127.bias"}));
  const OtherNames others = OtherNamesOf(config.Tensors());
  EXPECT_EQ(others.renamed.at("model.layers.2.mlp.router.linear.bias"),
            "model.layers.2.mlp.router.bias");
  EXPECT_EQ(others.fused.at("model.layers.2.mlp.experts.down_proj"),
            "model.layers.2.mlp.experts.down_projs.0.weight");
  EXPECT_EQ(others.fused.at("model.layers.2.mlp.experts.gate_up_proj_bias"),
            "model.layers.2.mlp.experts.gate_up_projs.0.bias");

  const std::string slides = "sliding_attention", full = "full_attention";
  ASSERT_OK_AND_ASSIGN(config,
                       Read("gpt_oss", {{"num_local_experts", 3},
                                        {"num_experts_per_tok", 2},
                                        {"swiglu_limit", 5},
                                        {"swiglu_alpha", 1},
                                        {"sliding_window", 16},
                                        {"layer_types", {full, slides, slides, full}},
                                        {"rope_scaling", {{"rope_type", "linear"}, {"factor", 2}}},
                                        {"quantization_config", {{"quant_method", "mxfp4"}}},
                                        {"attention_bias", false}}));
  EXPECT_THAT(WindowsOf(config), ElementsAre(0, 16, 16, 0));
  EXPECT_EQ(config.clamped_gate->slope, 1.0);
  EXPECT_EQ(config.clamped_gate->limit, 5.0);
  EXPECT_EQ(config.ropes[0].scaling.kind, RopeScaling::Kind::kLinear);
  EXPECT_THAT(NamesOf(config), Not(::testing::Contains("model.layers.1.self_attn.o_proj.bias")));
  EXPECT_THAT(Read("gpt_oss", {{"swiglu_limit", -1}}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("limit of the gate")));
  EXPECT_THAT(Read("gpt_oss", {{"quantization_config", {{"quant_method", "gptq"}}}}),
              StatusIs(absl::StatusCode::kUnimplemented, HasSubstr("or quant_method mxfp4")));
  EXPECT_THAT(Read("llama", {{"quantization_config", {{"quant_method", "mxfp4"}}}}),
              StatusIs(absl::StatusCode::kUnimplemented, HasSubstr("quantization_config")));
}

TEST_F(FamiliesTest, MistralsWindowIsThatOfEveryLayerUnlessItIsNull) {
  ASSERT_OK_AND_ASSIGN(ModelConfig config, Read("mistral", {{"sliding_window", 16}}));
  EXPECT_THAT(WindowsOf(config), ElementsAre(16, 16, 16, 16));
  EXPECT_EQ(config.head_dim, 16);
  EXPECT_EQ(config.max_position, 131072);
  ASSERT_OK_AND_ASSIGN(config,
                       Read("mistral", {{"sliding_window", nullptr}, {"head_dim", nullptr}}));
  EXPECT_THAT(WindowsOf(config), ElementsAre(0, 0, 0, 0));
  ASSERT_OK_AND_ASSIGN(config, Read("mistral"));
  EXPECT_THAT(WindowsOf(config), ElementsAre(4096, 4096, 4096, 4096));
  EXPECT_THAT(Read("mistral", {{"sliding_window", -1}, {"layer_types", {"full_attention"}}}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("sliding_window")));
  EXPECT_THAT(Read("mistral", {{"layer_types", {"full_attention"}}}),
              StatusIs(absl::StatusCode::kUnimplemented, HasSubstr("layer_types")));
}

TEST_F(FamiliesTest, Phi3HasOneParameterForWhatIsMultipliedTogether) {
  ASSERT_OK_AND_ASSIGN(ModelConfig config, Read("phi3"));
  EXPECT_THAT(WindowsOf(config), ElementsAre(0, 0, 0, 0));
  EXPECT_EQ(config.norm_eps, 1e-5);
  std::vector<int64_t> rows;
  for (const TensorSpec& tensor : config.Tensors()) {
    if (tensor.name == "model.layers.2.self_attn.qkv_proj.weight") rows.push_back(tensor.rows());
    if (tensor.name == "model.layers.2.mlp.gate_up_proj.weight") rows.push_back(tensor.rows());
  }
  EXPECT_THAT(rows, ElementsAre(128, 256));
  ASSERT_OK_AND_ASSIGN(config, Read("phi3", {{"sliding_window", 2047}}));
  EXPECT_THAT(WindowsOf(config), ElementsAre(2047, 2047, 2047, 2047));
  EXPECT_THAT(Read("phi3", {{"sliding_window", 0}}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("sliding_window")));
  EXPECT_THAT(Read("phi3", {{"rope_scaling", {{"type", "linear"}, {"factor", 2}}}}),
              StatusIs(absl::StatusCode::kUnimplemented, HasSubstr("'linear'")));
}

TEST_F(FamiliesTest, Phi3TurnsPartsOfHeadsAndCallsLongRopeByOlderNames) {
  for (const char* name : {"longrope", "su", "yarn"}) {
    ASSERT_OK_AND_ASSIGN(const ModelConfig config,
                         Read("phi3", {{"partial_rotary_factor", 0.75},
                                       {"max_position_embeddings", 131072},
                                       {"rope_scaling",
                                        {{"type", name},
                                         {"short_factor", std::vector<double>(6, 1.0)},
                                         {"long_factor", std::vector<double>(6, 2.0)}}}}));
    EXPECT_EQ(config.ropes[0].rotary_dim, 12);
    EXPECT_EQ(config.ropes[0].scaling.kind, RopeScaling::Kind::kLongRope);
    EXPECT_EQ(config.ropes[0].scaling.original_max_position, 4096);
    EXPECT_TRUE(config.ropes[0].scaling.is_long);
  }
  EXPECT_THAT(Read("phi3", {{"partial_rotary_factor", 1.5}}),
              StatusIs(absl::StatusCode::kUnimplemented, HasSubstr("partial_rotary_factor: 1.5")));
  EXPECT_THAT(Read("llama", {{"partial_rotary_factor", 0.75}}),
              StatusIs(absl::StatusCode::kUnimplemented, HasSubstr("partial_rotary_factor: 0.75")));
}

TEST_F(FamiliesTest, Ministral3ScalesQueriesByPosition) {
  ASSERT_OK_AND_ASSIGN(ModelConfig config, Read("ministral3"));
  EXPECT_EQ(config.head_dim, 128);
  EXPECT_EQ(config.ropes[0].scaling.kind, RopeScaling::Kind::kYarn);
  EXPECT_EQ(config.ropes[0].scaling.original_max_position, 16384);
  EXPECT_EQ(config.ropes[0].query_scale_beta, 0.1);
  json rope = {{"rope_type", "yarn"}, {"factor", 2}, {"original_max_position_embeddings", 64}};
  EXPECT_THAT(Read("ministral3", {{"rope_parameters", rope}}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("llama_4_scaling_beta")));
  rope["llama_4_scaling_beta"] = 0.2;
  ASSERT_OK_AND_ASSIGN(config, Read("ministral3", {{"rope_parameters", rope}}));
  EXPECT_EQ(config.ropes[0].query_scale_beta, 0.2);
  EXPECT_EQ(config.ropes[0].theta, 10000.0);
}

TEST_F(FamiliesTest, SmolLm3SaysWhichLayersHaveNoPositions) {
  ASSERT_OK_AND_ASSIGN(ModelConfig config, Read("smollm3"));
  EXPECT_THAT(RotaryLayersOf(config), ElementsAre(true, true, true, false));
  EXPECT_EQ(config.ropes[0].theta, 2e6);
  EXPECT_TRUE(config.tie_word_embeddings);
  ASSERT_OK_AND_ASSIGN(config, Read("smollm3", {{"no_rope_layer_interval", 2}}));
  EXPECT_THAT(RotaryLayersOf(config), ElementsAre(true, false, true, false));
  ASSERT_OK_AND_ASSIGN(config, Read("smollm3", {{"no_rope_layers", {0, 1, 1, 0, 0}}}));
  EXPECT_THAT(RotaryLayersOf(config), ElementsAre(false, true, true, false));
  EXPECT_THAT(Read("smollm3", {{"no_rope_layers", {0, 1}}}),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("no_rope_layers: expected one for each of 4 layers, found 2")));
  EXPECT_THAT(Read("smollm3", {{"no_rope_layers", {0, 1, 1, 0.5}}}),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("no_rope_layers: expected a list of integers")));
  EXPECT_THAT(Read("smollm3", {{"no_rope_layer_interval", 0}}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("no_rope_layer_interval")));
  EXPECT_THAT(Read("smollm3", {{"use_sliding_window", true}}),
              StatusIs(absl::StatusCode::kUnimplemented, HasSubstr("use_sliding_window")));
}

TEST_F(FamiliesTest, Gemma2CapsAndHasAWindowInEverySecondLayer) {
  ASSERT_OK_AND_ASSIGN(ModelConfig config, Read("gemma2"));
  EXPECT_THAT(WindowsOf(config), ElementsAre(4096, 0, 4096, 0));
  EXPECT_EQ(config.norm, NormKind::kRmsPlusOne);
  EXPECT_EQ(config.activation, Activation::kGeluTanh);
  EXPECT_EQ(config.head_dim, 256);
  EXPECT_EQ(config.embedding_scale.factor, 8.0);
  EXPECT_TRUE(config.embedding_scale.rounded);
  EXPECT_EQ(config.attention_scale, 1.0 / 16);
  EXPECT_EQ(config.attention_softcap, 50.0);
  EXPECT_EQ(config.logit_softcap, 30.0);
  EXPECT_TRUE(config.tie_word_embeddings);
  ASSERT_OK_AND_ASSIGN(config, Read("gemma2", {{"attn_logit_softcapping", nullptr},
                                               {"final_logit_softcapping", nullptr},
                                               {"query_pre_attn_scalar", 4},
                                               {"sliding_window", nullptr}}));
  EXPECT_EQ(config.attention_softcap, 0.0);
  EXPECT_EQ(config.logit_softcap, 0.0);
  EXPECT_EQ(config.attention_scale, 0.5);
  EXPECT_THAT(WindowsOf(config), ElementsAre(0, 0, 0, 0));
  EXPECT_THAT(Read("gemma2", {{"query_pre_attn_scalar", 0}}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("query_pre_attn_scalar")));
}

TEST_F(FamiliesTest, Gemma3HasRotaryPositionsOfItsOwnInLayersWithAWindow) {
  const auto ropes_of = [](const ModelConfig& config) {
    std::vector<int64_t> ropes;
    for (const LayerSpec& layer : config.layers) ropes.push_back(layer.rope);
    return ropes;
  };
  ASSERT_OK_AND_ASSIGN(
      ModelConfig config,
      Read("gemma3_text", {{"sliding_window_pattern", 3},
                           {"sliding_window", 512},
                           {"rope_theta", 5e5},
                           {"rope_local_base_freq", 2e4},
                           {"rope_scaling", {{"rope_type", "linear"}, {"factor", 8}}}}));
  EXPECT_THAT(WindowsOf(config), ElementsAre(512, 512, 0, 512));
  EXPECT_THAT(ropes_of(config), ElementsAre(1, 1, 0, 1));
  ASSERT_EQ(config.ropes.size(), 2);
  EXPECT_EQ(config.ropes[0].theta, 5e5);
  EXPECT_EQ(config.ropes[0].scaling.factor, 8.0);
  EXPECT_EQ(config.ropes[1].theta, 2e4);
  EXPECT_EQ(config.ropes[1].scaling.kind, RopeScaling::Kind::kNone);
  ASSERT_OK_AND_ASSIGN(config,
                       Read("gemma3_text", {{"rope_parameters",
                                             {{"full_attention", {{"rope_type", "default"}}},
                                              {"sliding_attention", {{"rope_theta", 3e4}}}}}}));
  EXPECT_EQ(config.ropes[0].theta, 1e6);
  EXPECT_EQ(config.ropes[1].theta, 3e4);
  ASSERT_OK_AND_ASSIGN(config, Read("gemma3_text"));
  EXPECT_EQ(config.ropes[0].theta, 1e6);
  EXPECT_EQ(config.ropes[1].theta, 1e4);
  EXPECT_EQ(config.logit_softcap, 0.0);
  EXPECT_THAT(
      Read("gemma3_text", {{"attn_logit_softcapping", 50.0},
                           {"use_bidirectional_attention", true},
                           {"rope_parameters", {{"rope_theta", 1e4}}}}),
      StatusIs(absl::StatusCode::kUnimplemented,
               AllOf(HasSubstr("attn_logit_softcapping"), HasSubstr("use_bidirectional_attention"),
                     HasSubstr("rope_parameters.rope_theta"))));
  EXPECT_THAT(Read("gemma3_text", {{"sliding_window_pattern", 0}}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("sliding_window_pattern")));
}

TEST_F(FamiliesTest, GraniteScalesWhatOthersDoNot) {
  ASSERT_OK_AND_ASSIGN(ModelConfig config, Read("granite"));
  EXPECT_EQ(config.attention_scale, 1.0);
  ASSERT_OK_AND_ASSIGN(config, Read("granite", {{"embedding_multiplier", 12},
                                                {"attention_multiplier", 0.25},
                                                {"residual_multiplier", 0.22},
                                                {"logits_scaling", 8}}));
  EXPECT_EQ(config.embedding_scale.factor, 12.0);
  EXPECT_FALSE(config.embedding_scale.rounded);
  EXPECT_EQ(config.attention_scale, 0.25);
  EXPECT_EQ(config.residual_scale, 0.22);
  EXPECT_EQ(config.logit_divisor, 8.0);
  EXPECT_THAT(Read("granite", {{"logits_scaling", 0}}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("logit divisor")));
}

TEST_F(FamiliesTest, Granite4IsReadWhereItIsDense) {
  const json dense = {{"layer_types", {"attention", "attention", "attention", "full_attention"}},
                      {"num_local_experts", 0},
                      {"shared_intermediate_size", 48}};
  const auto with = [&](const json& changes) {
    json all = dense;
    all.update(changes);
    return Read("granitemoehybrid", all);
  };
  ASSERT_OK_AND_ASSIGN(ModelConfig config, with({{"position_embedding_type", "rope"}}));
  EXPECT_EQ(config.intermediate_size, 48);
  EXPECT_EQ(config.layers[3].positions, Positions::kRotary);
  EXPECT_THAT(NamesOf(config), IsSupersetOf({"model.layers.0.shared_mlp.input_linear.weight",
                                             "model.layers.3.shared_mlp.output_linear.weight"}));
  EXPECT_THAT(NamesOf(config), Not(::testing::Contains("model.layers.0.mlp.gate_proj.weight")));
  ASSERT_OK_AND_ASSIGN(config, with({{"position_embedding_type", "nope"}}));
  EXPECT_EQ(config.layers[0].positions, Positions::kNone);
  ASSERT_OK_AND_ASSIGN(config, with(json::object()));
  EXPECT_EQ(config.layers[0].positions, Positions::kNone);

  EXPECT_THAT(with({{"num_local_experts", 4},
                    {"position_embedding_type", "alibi"},
                    {"layer_types", {"attention", "mamba", "attention", "attention"}}}),
              StatusIs(absl::StatusCode::kUnimplemented,
                       AllOf(HasSubstr("num_local_experts: 4"), HasSubstr("layer_types: 'mamba'"),
                             HasSubstr("position_embedding_type: 'alibi'"))));
  EXPECT_THAT(with({{"layer_types", nullptr}, {"num_local_experts", nullptr}}),
              StatusIs(absl::StatusCode::kUnimplemented,
                       AllOf(HasSubstr("layer_types: none"), HasSubstr("num_local_experts: 8"))));
  EXPECT_THAT(with({{"layer_types", {"attention"}}}),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("layer_types: expected one for each of 4 layers, found 1")));
}

TEST_F(FamiliesTest, OlmosNormsComeAfterwards) {
  ASSERT_OK_AND_ASSIGN(ModelConfig config, Read("olmo2"));
  EXPECT_THAT(NamesOf(config), IsSupersetOf({"model.layers.0.post_attention_layernorm.weight",
                                             "model.layers.0.post_feedforward_layernorm.weight"}));
  EXPECT_THAT(NamesOf(config), Not(::testing::Contains("model.layers.0.input_layernorm.weight")));
  EXPECT_EQ(config.head_norms, HeadNorms::kWhole);
  EXPECT_THAT(WindowsOf(config), ElementsAre(0, 0, 0, 0));
  ASSERT_OK_AND_ASSIGN(config, Read("olmo3", {{"sliding_window", 16}}));
  EXPECT_THAT(WindowsOf(config), ElementsAre(16, 16, 16, 0));
  EXPECT_EQ(config.ropes[1].theta, 5e5);
}

TEST_F(FamiliesTest, StableLmTurnsAPartOfEachHead) {
  ASSERT_OK_AND_ASSIGN(ModelConfig config, Read("stablelm"));
  EXPECT_EQ(config.ropes[0].rotary_dim, 4);
  EXPECT_THAT(NamesOf(config), IsSupersetOf({"model.layers.0.input_layernorm.bias",
                                             "model.layers.0.post_attention_layernorm.weight"}));
  ASSERT_OK_AND_ASSIGN(config, Read("stablelm", {{"partial_rotary_factor", 0.5},
                                                 {"use_parallel_residual", true},
                                                 {"qk_layernorm", true}}));
  EXPECT_EQ(config.ropes[0].rotary_dim, 8);
  EXPECT_TRUE(config.parallel_residual);
  EXPECT_THAT(NamesOf(config),
              IsSupersetOf({"model.layers.0.self_attn.q_layernorm.norms.3.weight",
                            "model.layers.0.self_attn.k_layernorm.norms.1.weight"}));
  EXPECT_THAT(NamesOf(config),
              Not(::testing::Contains("model.layers.0.post_attention_layernorm.weight")));
}

TEST_F(FamiliesTest, Starcoder2AndGptNeoxHaveNoGate) {
  ASSERT_OK_AND_ASSIGN(ModelConfig config, Read("starcoder2", {{"sliding_window", 16}}));
  EXPECT_THAT(WindowsOf(config), ElementsAre(16, 16, 16, 16));
  EXPECT_THAT(NamesOf(config), IsSupersetOf({"model.layers.0.mlp.c_fc.bias", "model.norm.bias"}));
  EXPECT_EQ(config.activation, Activation::kGeluTanh);
  const json heads = {{"num_key_value_heads", nullptr}};
  ASSERT_OK_AND_ASSIGN(config, Read("gpt_neox", heads));
  EXPECT_EQ(config.ropes[0].rotary_dim, 4);
  EXPECT_EQ(config.activation, Activation::kGelu);
  EXPECT_TRUE(config.parallel_residual);
  EXPECT_THAT(NamesOf(config), IsSupersetOf({"gpt_neox.layers.3.attention.query_key_value.bias",
                                             "gpt_neox.embed_in.weight", "lm_head.weight"}));
  ASSERT_OK_AND_ASSIGN(config, Read("gpt_neox", {{"num_key_value_heads", nullptr},
                                                 {"rotary_pct", 0.5},
                                                 {"rotary_emb_base", 1e3},
                                                 {"use_parallel_residual", false}}));
  EXPECT_EQ(config.ropes[0].rotary_dim, 8);
  EXPECT_EQ(config.ropes[0].theta, 1e3);
  EXPECT_FALSE(config.parallel_residual);
  EXPECT_THAT(Read("gpt_neox", {{"num_key_value_heads", 2}}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("num_kv_heads")));
}

TEST_F(FamiliesTest, EveryFamilyRefusesWhatTheDecoderDoesNotHave) {
  for (const std::string family :
       {"gpt_oss", "granite", "llama", "ministral3", "mistral", "mixtral", "olmo2", "phi3", "qwen2",
        "qwen3", "qwen3_moe", "smollm3", "stablelm", "starcoder2"}) {
    EXPECT_THAT(Read(family, {{"hidden_act", "relu"},
                              {"quantization_config", {{"bits", 4}}},
                              {"rope_parameters",
                               {{"rope_type", "axial"},
                                {"llama_4_scaling_beta", 0.1},
                                {"full_attention", {{"x", 1}}}}}}),
                StatusIs(absl::StatusCode::kUnimplemented,
                         AllOf(HasSubstr("hidden_act: 'relu'"), HasSubstr("quantization_config"),
                               HasSubstr("rope_parameters.rope_type: 'axial'"),
                               HasSubstr("rope_parameters.full_attention"))))
        << family;
    // A model of more layers than any has ends in one error, not in their memory.
    EXPECT_THAT(Read(family, {{"num_hidden_layers", int64_t{1} << 40}}),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("num_layers")))
        << family;
  }
}

}  // namespace
}  // namespace shira
