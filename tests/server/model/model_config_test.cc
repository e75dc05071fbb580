#include "server/model/model_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "server/model/families/llama.h"
#include "tests/testutil/gguf_bytes.h"
#include "tests/testutil/status_matchers.h"
#include "tests/testutil/temp_folder.h"

namespace shira {
namespace {

using ::nlohmann::json;
using ::shira::testing::GgufBytes;
using ::shira::testing::IsOk;
using ::shira::testing::StatusIs;
using ::shira::testing::TempFolder;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

using ::shira::testing::kInvalid;
constexpr auto kUnimplemented = absl::StatusCode::kUnimplemented;

json MinimalJson() {
  return {{"model_type", "llama"},    {"hidden_size", 64},        {"num_hidden_layers", 2},
          {"num_attention_heads", 4}, {"intermediate_size", 128}, {"vocab_size", 320}};
}

class HuggingFaceConfigTest : public ::testing::Test {
 protected:
  absl::StatusOr<ModelConfig> Read(const std::string& text) {
    folder_.Write("config.json", text);
    return ReadHuggingFaceConfig(folder_.path());
  }
  // The minimal configuration with these members put in, or taken out where they are discarded.
  absl::StatusOr<ModelConfig> ReadWith(const json& changes) {
    json config = MinimalJson();
    config.update(changes);
    return Read(config.dump());
  }

  const TempFolder folder_;
};

TEST_F(HuggingFaceConfigTest, AbsentMembersHaveTheDefaultsOfTransformers) {
  ASSERT_OK_AND_ASSIGN(const ModelConfig config, ReadWith(json::object()));
  EXPECT_EQ(config.architecture, "llama");
  EXPECT_EQ(config.hidden_size, 64);
  EXPECT_EQ(config.num_layers, 2);
  EXPECT_EQ(config.num_heads, 4);
  EXPECT_EQ(config.num_kv_heads, 4);
  EXPECT_EQ(config.head_dim, 16);
  EXPECT_EQ(config.intermediate_size, 128);
  EXPECT_EQ(config.vocab_size, 320);
  EXPECT_EQ(config.max_position, 2048);
  EXPECT_EQ(config.norm_eps, 1e-6);
  EXPECT_EQ(config.ropes[0].theta, 10000.0);
  EXPECT_EQ(config.ropes[0].scaling.kind, RopeScaling::Kind::kNone);
  EXPECT_FALSE(config.tie_word_embeddings);
  EXPECT_FALSE(config.attention_bias);
  EXPECT_FALSE(config.mlp_bias);
  EXPECT_THAT(config.eos_token_ids, IsEmpty());
}

TEST_F(HuggingFaceConfigTest, ReadsEveryMemberAndIgnoresDTypesAndNulls) {
  ASSERT_OK_AND_ASSIGN(const ModelConfig config, ReadWith({{"num_key_value_heads", 2},
                                                           {"head_dim", 32},
                                                           {"max_position_embeddings", 512},
                                                           {"rms_norm_eps", 1e-5},
                                                           {"rope_theta", 5e5},
                                                           {"rope_scaling", nullptr},
                                                           {"tie_word_embeddings", true},
                                                           {"attention_bias", true},
                                                           {"mlp_bias", true},
                                                           {"eos_token_id", {2, 7}},
                                                           {"hidden_act", "silu"},
                                                           {"torch_dtype", "bfloat16"},
                                                           {"dtype", "bfloat16"},
                                                           {"quantization_config", nullptr}}));
  EXPECT_EQ(config.num_kv_heads, 2);
  EXPECT_EQ(config.head_dim, 32);
  EXPECT_EQ(config.max_position, 512);
  EXPECT_EQ(config.norm_eps, 1e-5);
  EXPECT_EQ(config.ropes[0].theta, 5e5);
  EXPECT_TRUE(config.tie_word_embeddings);
  EXPECT_TRUE(config.attention_bias);
  EXPECT_TRUE(config.mlp_bias);
  EXPECT_THAT(config.eos_token_ids, ElementsAre(2, 7));
}

TEST_F(HuggingFaceConfigTest, ReadsRopeParametersOfNewFiles) {
  ASSERT_OK_AND_ASSIGN(const ModelConfig config,
                       ReadWith({{"rope_parameters",
                                  {{"rope_type", "llama3"},
                                   {"rope_theta", 5e5},
                                   {"factor", 8.0},
                                   {"low_freq_factor", 1.0},
                                   {"high_freq_factor", 4.0},
                                   {"original_max_position_embeddings", 8192}}}}));
  EXPECT_EQ(config.ropes[0].theta, 5e5);
  EXPECT_EQ(config.ropes[0].scaling.kind, RopeScaling::Kind::kLlama3);
  EXPECT_EQ(config.ropes[0].scaling.factor, 8.0);
  EXPECT_EQ(config.ropes[0].scaling.low_freq_factor, 1.0);
  EXPECT_EQ(config.ropes[0].scaling.high_freq_factor, 4.0);
  EXPECT_EQ(config.ropes[0].scaling.original_max_position, 8192);
}

TEST_F(HuggingFaceConfigTest, ReadsRopeScalingOfOlderFiles) {
  ASSERT_OK_AND_ASSIGN(
      const ModelConfig config,
      ReadWith({{"rope_theta", 2e4}, {"rope_scaling", {{"type", "linear"}, {"factor", 2}}}}));
  EXPECT_EQ(config.ropes[0].theta, 2e4);
  EXPECT_EQ(config.ropes[0].scaling.kind, RopeScaling::Kind::kLinear);
  EXPECT_EQ(config.ropes[0].scaling.factor, 2.0);
}

TEST_F(HuggingFaceConfigTest, GenerationConfigOverridesTheEndOfText) {
  folder_.Write("generation_config.json", R"({"eos_token_id": [5, 6]})");
  ASSERT_OK_AND_ASSIGN(ModelConfig config, ReadWith({{"eos_token_id", 2}}));
  EXPECT_THAT(config.eos_token_ids, ElementsAre(5, 6));
  folder_.Write("generation_config.json", R"({"eos_token_id": 7})");
  ASSERT_OK_AND_ASSIGN(config, ReadWith({{"eos_token_id", 2}}));
  EXPECT_THAT(config.eos_token_ids, ElementsAre(7));
  folder_.Write("generation_config.json", "{}");
  ASSERT_OK_AND_ASSIGN(config, ReadWith({{"eos_token_id", 2}}));
  EXPECT_THAT(config.eos_token_ids, ElementsAre(2));
  folder_.Write("generation_config.json", R"({"eos_token_id": 8, "max_time": Infinity})");
  ASSERT_OK_AND_ASSIGN(config, ReadWith({{"eos_token_id", 2}}));
  EXPECT_THAT(config.eos_token_ids, ElementsAre(8));
  folder_.Write("generation_config.json", R"({"eos_token_id": "x"})");
  EXPECT_THAT(
      ReadWith(json::object()),
      StatusIs(kInvalid, AllOf(HasSubstr("generation_config.json"), HasSubstr("eos_token_id"))));
}

TEST_F(HuggingFaceConfigTest, ReadsYarnWithItsDefaults) {
  ASSERT_OK_AND_ASSIGN(
      ModelConfig config,
      ReadWith({{"max_position_embeddings", 256},
                {"rope_scaling",
                 {{"type", "yarn"}, {"factor", 4}, {"original_max_position_embeddings", 64}}}}));
  RopeScaling scaling = config.ropes[0].scaling;
  EXPECT_EQ(scaling.kind, RopeScaling::Kind::kYarn);
  EXPECT_EQ(scaling.factor, 4.0);
  EXPECT_EQ(scaling.original_max_position, 64);
  EXPECT_DOUBLE_EQ(scaling.attention_factor, 0.1 * std::log(4.0) + 1.0);
  EXPECT_EQ(scaling.beta_fast, 32.0);
  EXPECT_EQ(scaling.beta_slow, 1.0);
  EXPECT_TRUE(scaling.truncate);

  ASSERT_OK_AND_ASSIGN(config, ReadWith({{"max_position_embeddings", 256},
                                         {"rope_scaling",
                                          {{"rope_type", "yarn"},
                                           {"factor", nullptr},
                                           {"original_max_position_embeddings", 32},
                                           {"attention_factor", 0.5},
                                           {"beta_fast", 0},
                                           {"beta_slow", 2},
                                           {"truncate", false}}}}));
  scaling = config.ropes[0].scaling;
  EXPECT_EQ(scaling.factor, 8.0);
  EXPECT_EQ(scaling.attention_factor, 0.5);
  EXPECT_EQ(scaling.beta_fast, 32.0);
  EXPECT_EQ(scaling.beta_slow, 2.0);
  EXPECT_FALSE(scaling.truncate);
  EXPECT_THAT(ReadWith({{"rope_theta", 1.0}, {"rope_scaling", {{"type", "yarn"}, {"factor", 2}}}}),
              StatusIs(kInvalid, HasSubstr("rope_theta: yarn")));
}

TEST_F(HuggingFaceConfigTest, TheLongestSequenceChoosesLongRopesFactors) {
  json rope = {{"type", "longrope"},
               {"short_factor", std::vector<double>(8, 1.0)},
               {"long_factor", std::vector<double>(8, 2.0)},
               {"original_max_position_embeddings", 64}};
  const auto read = [&] {
    return ReadWith({{"max_position_embeddings", 256}, {"rope_scaling", rope}});
  };
  ASSERT_OK_AND_ASSIGN(ModelConfig config, read());
  EXPECT_EQ(config.ropes[0].scaling.kind, RopeScaling::Kind::kLongRope);
  EXPECT_DOUBLE_EQ(config.ropes[0].scaling.attention_factor,
                   std::sqrt(1.0 + std::log(4.0) / std::log(64.0)));
  EXPECT_TRUE(config.ropes[0].scaling.is_long);
  EXPECT_THAT(config.LimitContext(65), IsOk());
  EXPECT_TRUE(config.ropes[0].scaling.is_long);
  EXPECT_THAT(config.LimitContext(64), IsOk());
  EXPECT_FALSE(config.ropes[0].scaling.is_long);
  EXPECT_EQ(config.max_position, 64);
  EXPECT_THAT(config.LimitContext(65), StatusIs(kInvalid, HasSubstr("has 64 positions, found 65")));
  EXPECT_THAT(config.LimitContext(0), StatusIs(kInvalid, HasSubstr("found 0")));

  rope["short_factor"].erase(0);
  rope["long_factor"][3] = -1.0;
  EXPECT_THAT(read(),
              StatusIs(kInvalid, AllOf(HasSubstr("short_factor: expected 8 numbers, found 7"),
                                       HasSubstr("long_factor: expected a positive"))));
  rope["short_factor"] = "1";
  EXPECT_THAT(read(), StatusIs(kInvalid, HasSubstr("short_factor: expected a list of numbers")));
}

TEST_F(HuggingFaceConfigTest, RefusesWhatThisProgramDoesNotHave) {
  EXPECT_THAT(ReadWith({{"model_type", "gpt2"}}),
              StatusIs(kUnimplemented, AllOf(HasSubstr("'gpt2'"), HasSubstr("llama"))));
  EXPECT_THAT(
      ReadWith({{"hidden_act", "relu"},
                {"quantization_config", {{"bits", 4}}},
                {"partial_rotary_factor", 0.5},
                {"rope_scaling",
                 {{"rope_type", "axial"}, {"factor", 2.0}, {"partial_rotary_factor", 0.5}}}}),
      StatusIs(kUnimplemented,
               AllOf(HasSubstr("config.json"), HasSubstr("hidden_act: 'relu'"),
                     HasSubstr("quantization_config"), HasSubstr("rope_scaling.rope_type: 'axial'"),
                     HasSubstr("rope_scaling.partial_rotary_factor"))));
}

TEST_F(HuggingFaceConfigTest, RefusesMalformedFiles) {
  EXPECT_THAT(ReadHuggingFaceConfig(folder_.path()),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("config.json")));
  for (const std::string& text :
       {std::string(), std::string("{"), std::string("[]"), std::string("\xFF"),
        std::string(100'000, '['), std::string(R"({"a":1e999})")}) {
    EXPECT_THAT(Read(text), StatusIs(kInvalid, HasSubstr("not a JSON object")))
        << text.substr(0, 20);
  }
  EXPECT_THAT(Read(std::string(2 << 20, ' ')), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(Read("{}"), StatusIs(kUnimplemented, HasSubstr("model family ''")));
}

TEST_F(HuggingFaceConfigTest, ListsEveryMemberThatIsWrong) {
  EXPECT_THAT(
      Read(
          R"({"model_type":"llama","hidden_size":"64","num_hidden_layers":2.5,"vocab_size":9223372036854775808,)"
          R"("rms_norm_eps":[],"mlp_bias":1,"eos_token_id":[1,4294967296],"hidden_act":1,"rope_scaling":3})"),
      StatusIs(kInvalid,
               AllOf(HasSubstr("hidden_size: expected an integer, found string"),
                     HasSubstr("num_hidden_layers: expected an integer, found number"),
                     HasSubstr("num_attention_heads: expected an integer, found nothing"),
                     HasSubstr("intermediate_size"), HasSubstr("vocab_size"),
                     HasSubstr("rms_norm_eps"), HasSubstr("mlp_bias: expected true or false"),
                     HasSubstr("eos_token_id"), HasSubstr("hidden_act: expected a string"),
                     HasSubstr("rope_scaling: expected an object"))));
}

TEST_F(HuggingFaceConfigTest, RefusesAHeadWidthThatDoesNotFollow) {
  EXPECT_THAT(ReadWith({{"num_attention_heads", 5}}), StatusIs(kInvalid, HasSubstr("head_dim")));
}

ModelConfig SmallConfig() {
  ModelConfig config;
  config.family = &kLlamaFamily;
  config.hidden_size = 64;
  config.num_layers = 1;
  config.layers.resize(1);
  config.num_heads = 4;
  config.num_kv_heads = 2;
  config.head_dim = 8;
  config.intermediate_size = 128;
  config.vocab_size = 320;
  config.max_position = 256;
  config.tie_word_embeddings = true;
  return config;
}

TEST(ModelConfigTest, ValidateListsEveryProblem) {
  EXPECT_THAT(ModelConfig{}.Validate(),
              StatusIs(kInvalid, AllOf(HasSubstr("hidden_size: expected 1 to 16777216, found 0"),
                                       HasSubstr("num_layers"), HasSubstr("num_heads"),
                                       HasSubstr("num_kv_heads"), HasSubstr("head_dim"),
                                       HasSubstr("intermediate_size"), HasSubstr("vocab_size"),
                                       HasSubstr("max_position"))));
  ModelConfig config = SmallConfig();
  EXPECT_THAT(config.Validate(), IsOk());
  config.family = nullptr;
  config.layers.resize(2, {.rope = 1, .window = -1});
  config.num_kv_heads = 3;
  config.head_dim = 15;
  config.norm_eps = NAN;
  config.ropes[0].theta = -1;
  config.ropes[0].scaling = {
      .kind = RopeScaling::Kind::kLlama3, .factor = 0, .low_freq_factor = 4, .high_freq_factor = 4};
  config.eos_token_ids = {-1, 320};
  EXPECT_THAT(
      config.Validate(),
      StatusIs(
          kInvalid,
          AllOf(HasSubstr("family: none"), HasSubstr("layers: expected 1, found 2"),
                HasSubstr("sliding window: expected none"),
                HasSubstr("rope of a layer: expected less than 1, found 1"),
                HasSubstr("3 does not divide num_heads, 4"), HasSubstr("an even one, found 15"),
                HasSubstr("norm_eps"), HasSubstr("rope_theta"), HasSubstr("rope factor"),
                HasSubstr("original_max_position"), HasSubstr("low_freq_factor: expected less"),
                HasSubstr("eos_token_id: -1"), HasSubstr("eos_token_id: 320"))));
}

TEST(ModelConfigTest, ValidateLimitsMixturesOfExperts) {
  ModelConfig config = SmallConfig();
  config.layers[0].mlp = MlpKind::kMixture;
  EXPECT_THAT(config.Validate(), StatusIs(kInvalid, HasSubstr("mixture of a layer")));
  config.mixture = {.experts = 4, .experts_per_token = 0, .intermediate_size = 0};
  EXPECT_THAT(config.Validate(),
              StatusIs(kInvalid, AllOf(HasSubstr("experts per token: expected 1 to 4, found 0"),
                                       HasSubstr("an expert's intermediate_size"))));
  config.mixture = {.experts = 4096, .experts_per_token = 2, .intermediate_size = 8};
  config.num_layers = 17;
  config.layers.resize(17);
  EXPECT_THAT(config.Validate(), StatusIs(kInvalid, HasSubstr("experts of all layers")));
}

TEST(ModelConfigTest, ParametersHaveShapesAndAppearOnce) {
  ModelConfig config = SmallConfig();
  const auto texts = [&] {
    std::vector<std::string> texts;
    for (const TensorSpec& tensor : config.Tensors())
      texts.push_back(tensor.name + " " + json(tensor.shape).dump());
    return texts;
  };
  EXPECT_THAT(texts(), ElementsAre("model.embed_tokens.weight [320,64]",
                                   "model.layers.0.input_layernorm.weight [64]",
                                   "model.layers.0.self_attn.q_proj.weight [32,64]",
                                   "model.layers.0.self_attn.k_proj.weight [16,64]",
                                   "model.layers.0.self_attn.v_proj.weight [16,64]",
                                   "model.layers.0.self_attn.o_proj.weight [64,32]",
                                   "model.layers.0.post_attention_layernorm.weight [64]",
                                   "model.layers.0.mlp.gate_proj.weight [128,64]",
                                   "model.layers.0.mlp.up_proj.weight [128,64]",
                                   "model.layers.0.mlp.down_proj.weight [64,128]",
                                   "model.norm.weight [64]"));
  config.tie_word_embeddings = false;
  EXPECT_EQ(texts().back(), "lm_head.weight [320,64]");
}

// Metadata of a small Llama; more can be added before Parse().
class LlamaMetadata {
 public:
  LlamaMetadata& Number(std::string_view key, uint32_t value) {
    body_.Value(key, 4, value);
    return Count();
  }
  LlamaMetadata& Float(std::string_view key, float value) {
    body_.Value(key, 6, value);
    return Count();
  }
  LlamaMetadata& Bool(std::string_view key, bool value) {
    body_.Value(key, 7, static_cast<uint8_t>(value));
    return Count();
  }
  LlamaMetadata& Text(std::string_view key, std::string_view value) {
    body_.Text(key).Put(uint32_t{8}).Text(value);
    return Count();
  }
  LlamaMetadata& Sizes() {
    Text("general.architecture", "llama")
        .Number("llama.embedding_length", 64)
        .Number("llama.block_count", 2);
    Number("llama.attention.head_count", 4).Number("llama.feed_forward_length", 128);
    Number("llama.context_length", 256).Number("llama.vocab_size", 320);
    return Float("llama.attention.layer_norm_rms_epsilon", 0.5f);
  }
  // One F32 vector.
  LlamaMetadata& Tensor(std::string_view name, const std::vector<float>& values) {
    tensor_name_ = name;
    tensor_ = values;
    return *this;
  }

  absl::StatusOr<ModelConfig> Read() const {
    const bool has_tensor = !tensor_name_.empty();
    GgufBytes header(has_tensor, count_);
    std::string bytes = header.bytes() + body_.bytes().substr(GgufBytes().bytes().size());
    if (has_tensor) {
      const std::string line = GgufBytes().Tensor(tensor_name_, {tensor_.size()}, 0, 0).bytes();
      bytes += line.substr(GgufBytes().bytes().size());
      bytes.resize((bytes.size() + 31) / 32 * 32);
      bytes.append(reinterpret_cast<const char*>(tensor_.data()), tensor_.size() * sizeof(float));
    }
    const absl::Span<const std::byte> span(reinterpret_cast<const std::byte*>(bytes.data()),
                                           bytes.size());
    SHIRA_ASSIGN_OR_RETURN(const GgufFile gguf, GgufFile::Parse(span, "x.gguf"));
    return ReadGgufConfig(gguf);
  }

 private:
  LlamaMetadata& Count() {
    ++count_;
    return *this;
  }

  GgufBytes body_;
  uint64_t count_ = 0;
  std::string tensor_name_;
  std::vector<float> tensor_;
};

// rope_freqs.weight as llama.cpp's converter computes it for theta 10000 and heads of 16.
std::vector<float> Llama3Factors(double factor) {
  std::vector<float> factors;
  for (int i = 0; i < 8; ++i) {
    const double wavelength = 2 * M_PI * std::pow(10000.0, 2.0 * i / 16);
    const double smooth = (8192 / wavelength - 1) / (4 - 1);
    factors.push_back(wavelength < 8192.0 / 4   ? 1.0
                      : wavelength > 8192.0 / 1 ? factor
                                                : 1 / ((1 - smooth) / factor + smooth));
  }
  return factors;
}

TEST(GgufConfigTest, ReadsSizesAndDefaults) {
  ASSERT_OK_AND_ASSIGN(const ModelConfig config, LlamaMetadata().Sizes().Read());
  EXPECT_EQ(config.architecture, "llama");
  EXPECT_EQ(config.hidden_size, 64);
  EXPECT_EQ(config.num_layers, 2);
  EXPECT_EQ(config.num_heads, 4);
  EXPECT_EQ(config.num_kv_heads, 4);
  EXPECT_EQ(config.head_dim, 16);
  EXPECT_EQ(config.intermediate_size, 128);
  EXPECT_EQ(config.vocab_size, 320);
  EXPECT_EQ(config.max_position, 256);
  EXPECT_EQ(config.norm_eps, 0.5);
  EXPECT_EQ(config.ropes[0].theta, 10000.0);
  EXPECT_EQ(config.ropes[0].scaling.kind, RopeScaling::Kind::kNone);
  EXPECT_TRUE(config.tie_word_embeddings);
  EXPECT_FALSE(config.attention_bias);
  EXPECT_THAT(config.eos_token_ids, IsEmpty());
}

TEST(GgufConfigTest, ReadsHeadsRopeAndEndOfText) {
  LlamaMetadata metadata = LlamaMetadata().Sizes().Number("llama.attention.head_count_kv", 2);
  metadata.Number("llama.attention.key_length", 32).Number("llama.attention.value_length", 32);
  metadata.Number("llama.rope.dimension_count", 32).Float("llama.rope.freq_base", 5e5f);
  metadata.Text("llama.rope.scaling.type", "linear").Float("llama.rope.scaling.factor", 4.0f);
  metadata.Number("tokenizer.ggml.eos_token_id", 2).Number("tokenizer.ggml.eot_token_id", 3);
  ASSERT_OK_AND_ASSIGN(const ModelConfig config, metadata.Read());
  EXPECT_EQ(config.num_kv_heads, 2);
  EXPECT_EQ(config.head_dim, 32);
  EXPECT_EQ(config.ropes[0].theta, 5e5);
  EXPECT_EQ(config.ropes[0].scaling.kind, RopeScaling::Kind::kLinear);
  EXPECT_EQ(config.ropes[0].scaling.factor, 4.0);
  EXPECT_THAT(config.eos_token_ids, ElementsAre(2, 3));
}

TEST(GgufConfigTest, AnIdOfAllOnesIsNone) {
  LlamaMetadata metadata =
      LlamaMetadata().Sizes().Number("tokenizer.ggml.eos_token_id", 4294967295);
  metadata.Number("tokenizer.ggml.eot_token_id", 3);
  ASSERT_OK_AND_ASSIGN(const ModelConfig config, metadata.Read());
  EXPECT_THAT(config.eos_token_ids, ElementsAre(3));
}

TEST(GgufConfigTest, RefusesAnIdThatIsNone) {
  EXPECT_THAT(LlamaMetadata().Sizes().Text("tokenizer.ggml.eos_token_id", "2").Read(),
              StatusIs(kInvalid, HasSubstr("tokenizer.ggml.eos_token_id: expected a token id")));
  EXPECT_THAT(LlamaMetadata().Sizes().Number("tokenizer.ggml.eot_token_id", 4294967294).Read(),
              StatusIs(kInvalid, HasSubstr("found 4294967294")));
}

TEST(GgufConfigTest, FindsUntiedEmbeddingsAndBiasesByTheirTensors) {
  ASSERT_OK_AND_ASSIGN(ModelConfig config,
                       LlamaMetadata().Sizes().Tensor("output.weight", {0}).Read());
  EXPECT_FALSE(config.tie_word_embeddings);
  ASSERT_OK_AND_ASSIGN(config, LlamaMetadata().Sizes().Tensor("blk.0.attn_q.bias", {0}).Read());
  EXPECT_TRUE(config.attention_bias);
  ASSERT_OK_AND_ASSIGN(config, LlamaMetadata().Sizes().Tensor("blk.0.ffn_up.bias", {0}).Read());
  EXPECT_TRUE(config.mlp_bias);
}

TEST(GgufConfigTest, RecognisesTheRotaryFactorsOfLlama3) {
  ASSERT_OK_AND_ASSIGN(
      const ModelConfig config,
      LlamaMetadata().Sizes().Tensor("rope_freqs.weight", Llama3Factors(32)).Read());
  EXPECT_EQ(config.ropes[0].scaling.kind, RopeScaling::Kind::kLlama3);
  EXPECT_EQ(config.ropes[0].scaling.factor, 32.0);
  EXPECT_EQ(config.ropes[0].scaling.low_freq_factor, 1.0);
  EXPECT_EQ(config.ropes[0].scaling.high_freq_factor, 4.0);
  EXPECT_EQ(config.ropes[0].scaling.original_max_position, 8192);
}

TEST(GgufConfigTest, RefusesOtherRotaryFactors) {
  std::vector<float> other = Llama3Factors(32);
  other[6] *= 1.01f;
  std::vector<float> not_a_number = Llama3Factors(32);
  not_a_number[0] = NAN;
  for (const std::vector<float>& factors : {other, not_a_number, std::vector<float>(7, 1.0f)}) {
    EXPECT_THAT(LlamaMetadata().Sizes().Tensor("rope_freqs.weight", factors).Read(),
                StatusIs(kUnimplemented, HasSubstr("x.gguf: rope_freqs.weight")));
  }
}

TEST(GgufConfigTest, RefusesWhatThisProgramDoesNotHave) {
  EXPECT_THAT(LlamaMetadata().Text("general.architecture", "mamba").Read(),
              StatusIs(kUnimplemented,
                       AllOf(HasSubstr("x.gguf"), HasSubstr("'mamba'"), HasSubstr("llama"))));
  LlamaMetadata metadata = LlamaMetadata().Sizes().Number("llama.expert_shared_count", 8);
  metadata.Number("llama.rope.dimension_count", 8).Number("llama.attention.value_length", 8);
  metadata.Text("llama.rope.scaling.type", "other").Float("llama.logit_scale", 2.0f);
  metadata.Float("llama.attention.temperature_scale", 0.1f);
  EXPECT_THAT(metadata.Read(),
              StatusIs(kUnimplemented, AllOf(HasSubstr("llama.expert_shared_count"),
                                             HasSubstr("llama.rope.dimension_count: 8"),
                                             HasSubstr("llama.attention.value_length: 8"),
                                             HasSubstr("llama.rope.scaling.type: 'other'"),
                                             HasSubstr("llama.attention.temperature_scale"),
                                             HasSubstr("llama.logit_scale"))));
}

TEST(GgufConfigTest, AFileOfLlamasArchitectureWithExpertsIsMixtrals) {
  LlamaMetadata metadata = LlamaMetadata().Sizes().Number("llama.expert_count", 8);
  metadata.Number("llama.expert_used_count", 2);
  ASSERT_OK_AND_ASSIGN(const ModelConfig config, metadata.Read());
  EXPECT_EQ(config.architecture, "llama");
  EXPECT_EQ(config.mixture.experts, 8);
  EXPECT_EQ(config.mixture.experts_per_token, 2);
  EXPECT_EQ(config.mixture.intermediate_size, 128);
  const std::vector<TensorSpec> tensors = config.Tensors();
  const auto w3 = std::find_if(tensors.begin(), tensors.end(), [](const TensorSpec& tensor) {
    return tensor.name == "model.layers.1.block_sparse_moe.experts.7.w3.weight";
  });
  ASSERT_NE(w3, tensors.end());
  EXPECT_EQ(w3->gguf_name, "blk.1.ffn_up_exps.weight");
  ASSERT_TRUE(w3->gguf_part.has_value());
  EXPECT_THAT(w3->gguf_part->shape, ElementsAre(8, 128, 64));
  EXPECT_EQ(w3->gguf_part->first_row, 7 * 128);
  ASSERT_OK_AND_ASSIGN(const ModelConfig none,
                       LlamaMetadata().Sizes().Number("llama.expert_count", 0).Read());
  EXPECT_EQ(none.mixture.experts, 0);
  EXPECT_EQ(none.Tensors().back().name, "model.norm.weight");
}

TEST(GgufConfigTest, GptOssHasWhatItsFilesDoNotSay) {
  LlamaMetadata metadata;
  metadata.Text("general.architecture", "gpt-oss").Text("gpt-oss.rope.scaling.type", "yarn");
  for (const auto& [key, value] : std::vector<std::pair<std::string, uint32_t>>{
           {"embedding_length", 64},
           {"block_count", 3},
           {"attention.head_count", 4},
           {"attention.key_length", 64},
           {"attention.value_length", 64},
           {"feed_forward_length", 128},
           {"expert_feed_forward_length", 96},
           {"context_length", 256},
           {"vocab_size", 320},
           {"expert_count", 6},
           {"expert_used_count", 3},
           {"attention.sliding_window", 20},
           {"rope.scaling.original_context_length", 32}}) {
    metadata.Number("gpt-oss." + key, value);
  }
  metadata.Float("gpt-oss.attention.layer_norm_rms_epsilon", 1e-5f);
  metadata.Float("gpt-oss.rope.scaling.factor", 8.0f);
  ASSERT_OK_AND_ASSIGN(const ModelConfig config, metadata.Read());
  EXPECT_EQ(config.mixture.intermediate_size, 96);
  EXPECT_EQ(config.clamped_gate->limit, 7.0);
  EXPECT_FALSE(config.ropes[0].scaling.truncate);
  EXPECT_EQ(config.ropes[0].theta, 150000.0);
  EXPECT_EQ(config.layers[0].window, 20);
  EXPECT_EQ(config.layers[1].window, 0);
  EXPECT_EQ(config.layers[2].window, 20);
}

TEST(GgufConfigTest, RefusesMixturesThatComputeOtherwise) {
  LlamaMetadata metadata = LlamaMetadata().Sizes().Number("llama.expert_count", 8);
  metadata.Number("llama.expert_used_count", 2).Number("llama.expert_gating_func", 2);
  metadata.Float("llama.expert_weights_scale", 2.5f).Bool("llama.expert_weights_norm", false);
  metadata.Number("llama.expert_group_count", 2).Number("llama.leading_dense_block_count", 1);
  EXPECT_THAT(metadata.Read(),
              StatusIs(kUnimplemented, AllOf(HasSubstr("llama.expert_gating_func: 2"),
                                             HasSubstr("llama.expert_weights_scale: 2.5"),
                                             HasSubstr("llama.expert_weights_norm: false"),
                                             HasSubstr("llama.expert_group_count"),
                                             HasSubstr("llama.leading_dense_block_count"))));
  EXPECT_THAT(LlamaMetadata()
                  .Sizes()
                  .Number("llama.expert_count", 8)
                  .Number("llama.expert_used_count", 9)
                  .Read(),
              StatusIs(kInvalid, HasSubstr("experts per token: expected 1 to 8, found 9")));
}

TEST(GgufConfigTest, RefusesMissingAndMalformedMetadata) {
  EXPECT_THAT(LlamaMetadata().Read(),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("general.architecture")));
  EXPECT_THAT(
      LlamaMetadata().Text("general.architecture", "llama").Text("llama.block_count", "2").Read(),
      StatusIs(kInvalid,
               AllOf(HasSubstr("llama.block_count: expected an integer, found string"),
                     HasSubstr("llama.embedding_length: expected an integer, found nothing"))));
}

}  // namespace
}  // namespace shira
