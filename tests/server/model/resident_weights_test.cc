#include "server/model/resident_weights.h"

#include <cstring>
#include <map>
#include <set>
#include <utility>

#include "base/float_types.h"
#include "base/thread_team.h"
#include "server/model/families/llama.h"
#include "tests/testutil/status_matchers.h"

namespace shira {
namespace {

using ::shira::testing::StatusIs;
using ::testing::HasSubstr;

ModelConfig SmallConfig() {
  ModelConfig config;
  config.architecture = "llama";
  config.family = &kLlamaFamily;
  config.hidden_size = 6;
  config.num_layers = 2;
  config.layers.resize(2);
  config.num_heads = 2;
  config.num_kv_heads = 1;
  config.head_dim = 4;
  config.intermediate_size = 5;
  config.vocab_size = 11;
  config.max_position = 16;
  config.tie_word_embeddings = true;
  config.attention_bias = true;
  config.mlp_bias = true;
  return config;
}

// Fills the n-th parameter that is read with the number n.
class NumberedSource final : public WeightSource {
 public:
  explicit NumberedSource(std::string unreadable = "") : unreadable_(std::move(unreadable)) {}

  const ModelConfig& config() const override { return config_; }
  const std::string& name() const override { return name_; }
  const GgufFile* gguf() const override { return nullptr; }
  absl::Status Read(std::string_view parameter, DType, WeightDestination destination,
                    const ParallelFor& parallel_for) const override {
    if (parameter == unreadable_) return absl::DataLossError("torn page");
    const float value = static_cast<float>(read_.size());
    read_[std::string(parameter)] = value;
    auto* data = reinterpret_cast<float*>(destination.data);
    parallel_for(destination.rows * destination.cols,
                 [&](int64_t begin, int64_t end) { std::fill(data + begin, data + end, value); });
    return absl::OkStatus();
  }

  float number(const std::string& parameter) const { return read_.at(parameter); }

 private:
  const ModelConfig config_ = SmallConfig();
  const std::string name_ = "numbered";
  const std::string unreadable_;
  mutable std::map<std::string, float> read_;
};

TEST(ResidentWeightsTest, TheMapHoldsEveryParameterWithItsValues) {
  const NumberedSource source;
  ThreadTeam team(2);
  ASSERT_OK_AND_ASSIGN(const auto weights,
                       ResidentWeights::Load(source, DType::kF32, team.parallel_for(), {}));
  ASSERT_OK_AND_ASSIGN(const auto memory,
                       HostWeightMemory::Create(weights->dtype(), weights->parameters()));
  const ParameterMap& map = memory->parameters();

  const auto expected = source.config().Tensors();
  ASSERT_EQ(map.parameters().size(), expected.size());
  EXPECT_EQ(map.dtype(), DType::kF32);
  EXPECT_EQ(map.Find("lm_head.weight"), -1);
  int64_t elements = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    const ParameterShape& parameter = map.parameters()[i];
    EXPECT_EQ(parameter.name, expected[i].name);
    EXPECT_EQ(parameter.cols, expected[i].shape.back());
    EXPECT_EQ(parameter.rows, expected[i].shape.size() == 1 ? 1 : expected[i].shape[0]);
    elements += parameter.elements();
    const auto* data =
        reinterpret_cast<const float*>(memory->bytes(static_cast<int64_t>(i)).data());
    for (int64_t j = 0; j < parameter.elements(); ++j) {
      ASSERT_EQ(data[j], source.number(parameter.name)) << parameter.name << " element " << j;
    }
  }
  EXPECT_EQ(weights->bytes(), elements * 4);
}

TEST(ResidentWeightsTest, ProjectionsThatAreMultipliedTogetherLieTogether) {
  ASSERT_OK_AND_ASSIGN(const auto weights, ResidentWeights::Allocate(SmallConfig(), DType::kBF16));
  const auto part_of = [&](const std::string& name) {
    for (const ResidentParameter& parameter : weights->parameters()) {
      if (parameter.name == "model.layers.1." + name) return parameter;
    }
    return ResidentParameter();
  };
  const auto expect_stack = [&](const TensorPlace& stack, const std::vector<std::string>& parts) {
    const ResidentWeights::Matrix whole = weights->At(stack);
    ASSERT_NE(whole.data, nullptr) << parts[0];
    const std::byte* next = whole.data;
    for (const std::string& name : parts) {
      const ResidentParameter part = part_of(name);
      EXPECT_EQ(part.data, next) << name;
      next = part.data + part.rows * part.cols * 2;
    }
    EXPECT_EQ(next, whole.data + whole.rows * whole.cols * 2) << parts[0];
  };
  for (const bool bias : {false, true}) {
    const std::string kind = bias ? "bias" : "weight";
    expect_stack(
        {TensorRole::kQueryKeyValue, 1, bias},
        {"self_attn.q_proj." + kind, "self_attn.k_proj." + kind, "self_attn.v_proj." + kind});
    expect_stack({TensorRole::kGateUp, 1, bias}, {"mlp.gate_proj." + kind, "mlp.up_proj." + kind});
  }
  EXPECT_EQ(weights->At({TensorRole::kQueryKeyValue, 1}).rows, 16);
  EXPECT_EQ(weights->At({TensorRole::kQueryKeyValue, 1, true}).cols, 16);
}

TEST(ResidentWeightsTest, MatricesAreAligned) {
  ASSERT_OK_AND_ASSIGN(const auto weights, ResidentWeights::Allocate(SmallConfig(), DType::kF16));
  for (const TensorPlace& place : {TensorPlace{TensorRole::kEmbedding},
                                   {TensorRole::kFinalNorm},
                                   {TensorRole::kQueryKeyValue, 0, true},
                                   {TensorRole::kAttentionOutput, 1},
                                   {TensorRole::kGateUp, 1}}) {
    const std::byte* data = weights->At(place).data;
    ASSERT_NE(data, nullptr) << static_cast<int>(place.role);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(data) % 64, 0u) << static_cast<int>(place.role);
  }
}

TEST(ResidentWeightsTest, FindsNothingWhereTheModelHasNothing) {
  ASSERT_OK_AND_ASSIGN(const auto weights, ResidentWeights::Allocate(SmallConfig(), DType::kF32));
  EXPECT_EQ(weights->At({TensorRole::kDown, 2}).data, nullptr);
  EXPECT_EQ(weights->At({TensorRole::kOutput}).data, nullptr);
}

TEST(ResidentWeightsTest, ReportsProgressUpToAllBytes) {
  std::vector<int64_t> reports;
  const NumberedSource source;
  ASSERT_OK_AND_ASSIGN(
      const auto weights,
      ResidentWeights::Load(source, DType::kF32, SerialFor, [&](int64_t done, int64_t total) {
        EXPECT_GT(done, reports.empty() ? 0 : reports.back());
        reports.push_back(done);
        EXPECT_LE(done, total);
      }));
  EXPECT_EQ(reports.size(), source.config().Tensors().size());
  EXPECT_EQ(reports.back(), weights->bytes());
}

TEST(ResidentWeightsTest, PassesOnWhatTheSourceRefuses) {
  const NumberedSource source("model.layers.1.mlp.up_proj.weight");
  EXPECT_THAT(ResidentWeights::Load(source, DType::kF32, SerialFor, {}),
              StatusIs(absl::StatusCode::kDataLoss, HasSubstr("torn page")));
}

TEST(ResidentWeightsTest, RefusesADtypeThatCannotBeResident) {
  EXPECT_THAT(ResidentWeights::Allocate(SmallConfig(), DType::kI32),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("I32")));
}

TEST(ResidentWeightsTest, RefusesAConfigThatIsNotValid) {
  ModelConfig config = SmallConfig();
  config.head_dim = 0;
  EXPECT_THAT(ResidentWeights::Allocate(config, DType::kF32),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("head_dim")));
}

TEST(ResidentWeightsTest, RefusesAModelThatNoMachineHolds) {
  ModelConfig config = SmallConfig();
  config.vocab_size = config.hidden_size = 1 << 24;
  EXPECT_THAT(ResidentWeights::Allocate(config, DType::kF32),
              StatusIs(absl::StatusCode::kResourceExhausted, HasSubstr("no memory for")));
}

}  // namespace
}  // namespace shira
