#include "adapters/format/peft_shira.h"

#include <cmath>
#include <string>
#include <string_view>
#include <vector>

#include "adapters/format/inferred_shapes.h"
#include "base/float_types.h"
#include "base/sha256.h"
#include "tests/adapters/format/format_fixture.h"

namespace shira {
namespace {

using ::shira::testing::AdapterFolder;
using ::shira::testing::FormatTest;
using ::shira::testing::IsOk;
using ::shira::testing::StatusIs;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class PeftShiraTest : public FormatTest {
 protected:
  // One layer, and b.weight whole.
  static AdapterFolder WithWholeModule() {
    AdapterFolder files;
    files.config = R"({"peft_type": "SHIRA", "r": 1, "modules_to_save": ["b"]})";
    files.AddLayer("a", {{3, 2}, {0, 1}}, {3.0f, 1.0f});
    files.AddTensor<float>("base_model.model.b.weight", DType::kF32, {2, 5},
                           {0, 1, 2, 3, 4, 5, 6, 7, 8, 9});
    return files;
  }
};

TEST_F(PeftShiraTest, AModuleToSaveReplacesTheWholeParameter) {
  ASSERT_OK_AND_ASSIGN(const auto adapter, ReadFolder(WithWholeModule()));
  ASSERT_EQ(adapter->deltas.size(), 2);
  EXPECT_EQ(adapter->deltas[0].kind, ValueKind::kDelta);
  EXPECT_EQ(adapter->deltas[1].kind, ValueKind::kReplacement);
  EXPECT_THAT(Positions(adapter->deltas[1]), ElementsAre(0, 1, 2, 3, 4, 5, 6, 7, 8, 9));
  EXPECT_THAT(adapter->deltas[1].values, ElementsAre(0, 1, 2, 3, 4, 5, 6, 7, 8, 9));
}

TEST_F(PeftShiraTest, AVectorCanBeSavedToo) {
  AdapterFolder files = WithWholeModule();
  files.config = R"({"peft_type": "SHIRA", "modules_to_save": ["b", "norm"]})";
  files.AddTensor<float>("base_model.model.norm.weight", DType::kF32, {3}, {1, 2, 3});
  ASSERT_OK_AND_ASSIGN(const auto adapter, ReadFolder(files));
  EXPECT_THAT(adapter->deltas[2].values, ElementsAre(1, 2, 3));
}

// As PEFT, which compares the ends of texts.
TEST_F(PeftShiraTest, AModuleToSaveIsNamedByTheEndOfItsPath) {
  base_.parameters["layers.0.mlp.up.weight"] = {1, 2};
  AdapterFolder files;
  files.AddTensor<float>("base_model.model.layers.0.mlp.up.weight", DType::kF32, {1, 2}, {1, 2});
  for (const char* name : {"up", "mlp.up", "mlp", "p"}) {
    files.config = std::string(R"({"peft_type": "SHIRA", "modules_to_save": [")") + name + "\"]}";
    EXPECT_THAT(ReadFolder(files), IsOk()) << name;
  }
  for (const char* name : {"down", "", "weight", "up.weight"}) {
    files.config = std::string(R"({"peft_type": "SHIRA", "modules_to_save": [")") + name + "\"]}";
    EXPECT_THAT(ReadFolder(files), StatusIs(kInvalid, HasSubstr("left over"))) << name;
  }
}

TEST_F(PeftShiraTest, RefusesAWholeModuleOfAnotherShape) {
  AdapterFolder files = WithWholeModule();
  files.AddTensor<float>("base_model.model.b.weight", DType::kF32, {5, 2},
                         {0, 1, 2, 3, 4, 5, 6, 7, 8, 9});
  EXPECT_THAT(ReadFolder(files),
              StatusIs(kInvalid, HasSubstr("b.weight: expected [2, 5], found F32 [5, 2]")));
  files.AddTensor<float>("base_model.model.b.weight", DType::kF32, {10},
                         {0, 1, 2, 3, 4, 5, 6, 7, 8, 9});
  EXPECT_THAT(ReadFolder(files),
              StatusIs(kInvalid, HasSubstr("b.weight: expected [2, 5], found F32 [10]")));
}

TEST_F(PeftShiraTest, RefusesAWholeModuleOfAnotherDtype) {
  AdapterFolder files = WithWholeModule();
  files.AddTensor<int32_t>("base_model.model.b.weight", DType::kI32, {2, 5},
                           {0, 1, 2, 3, 4, 5, 6, 7, 8, 9});
  EXPECT_THAT(ReadFolder(files),
              StatusIs(kInvalid, HasSubstr("expected F32, BF16 or F16, found I32 [2, 5]")));
}

TEST_F(PeftShiraTest, RefusesAWholeModuleThatTheModelDoesNotHave) {
  AdapterFolder files = WithWholeModule();
  files.config = R"({"peft_type": "SHIRA", "modules_to_save": ["b", "head"]})";
  files.AddTensor<float>("base_model.model.head.weight", DType::kF32, {1}, {1});
  EXPECT_THAT(ReadFolder(files),
              StatusIs(kInvalid, HasSubstr("head.weight: the model has no such matrix")));
}

TEST_F(PeftShiraTest, AnotherNameOfAParameterIsTheParameter) {
  base_.renamed = {{"newer.weight", "b.weight"}};
  AdapterFolder files = WithWholeModule();
  ASSERT_OK_AND_ASSIGN(const auto expected, ReadFolder(files));
  files.config = R"({"peft_type": "SHIRA", "modules_to_save": ["newer"]})";
  files.AddTensor<float>("base_model.model.newer.weight", DType::kF32, {2, 5},
                         {0, 1, 2, 3, 4, 5, 6, 7, 8, 9});
  files.RemoveTensor("base_model.model.b.weight");
  ASSERT_OK_AND_ASSIGN(const auto found, ReadFolder(files));
  ASSERT_EQ(found->deltas.size(), expected->deltas.size());
  EXPECT_EQ(found->deltas.back().parameter, "b.weight");
}

// In transformers 5 all experts of a mixture are one tensor of three dimensions.
TEST_F(PeftShiraTest, RefusesATensorOfSeveralParametersByName) {
  base_.fused = {{"mlp.experts.down_proj", "mlp.experts.0.down_proj.weight"}};
  AdapterFolder files = WithWholeModule();
  files.config = R"({"peft_type": "SHIRA", "modules_to_save": ["b", "experts"]})";
  files.AddTensor<float>("base_model.model.mlp.experts.down_proj", DType::kF32, {2, 2, 1},
                         {1, 2, 3, 4});
  const auto is_refused = [&](const char* name) {
    return StatusIs(
        kInvalid,
        HasSubstr(std::string(name) + ": it is one tensor of all experts' weights; expected those "
                                      "of each expert by itself, as mlp.experts.0.down_proj."
                                      "weight"));
  };
  EXPECT_THAT(ReadFolder(files), is_refused("mlp.experts.down_proj"));
  AdapterFolder sparse = WithWholeModule();
  sparse.AddLayer("mlp.experts.down_proj", {{0, 0}}, {1.0f});
  EXPECT_THAT(ReadFolder(sparse), is_refused("mlp.experts.down_proj.weight"));
}

TEST_F(PeftShiraTest, RefusesAWholeModuleWithAValueThatIsNotFinite) {
  AdapterFolder files = WithWholeModule();
  files.AddTensor<float>("base_model.model.b.weight", DType::kF32, {2, 5},
                         {0, 1, 2, 3, std::nanf(""), 5, 6, 7, 8, 9});
  EXPECT_THAT(ReadFolder(files), StatusIs(kInvalid, HasSubstr("b.weight: value 4")));
}

// PEFT's copy takes the place of one of the two, so the result is no state of these weights.
TEST_F(PeftShiraTest, RefusesAWholeModuleThatTheModelUsesInTwoPlaces) {
  base_.tied = {{"head.weight", "b.weight"}};
  EXPECT_THAT(ReadFolder(WithWholeModule()), StatusIs(kInvalid, HasSubstr("in two places")));
}

// What PEFT saves when lm_head is among the targets, and with save_embedding_layers=True.
class PeftWholeTensorsTest : public PeftShiraTest {
 protected:
  static constexpr float kScale = 1.0f / 64;  // exact in bfloat16

  PeftWholeTensorsTest() {
    base_.dtype = DType::kBF16;
    for (const char* name : {"model.embed_tokens.weight", "lm_head.weight"}) {
      base_.parameters[name] = {4, 2};
      base_.hashes[name] = HashOf(Numbers(name));
    }
  }

  // What the base holds.
  static std::vector<float> Numbers(std::string_view name) {
    std::vector<float> numbers;
    for (int i = 0; i < 8; ++i) numbers.push_back(kScale * static_cast<float>(name.size() + i));
    return numbers;
  }

  static Sha256Digest HashOf(const std::vector<float>& numbers) {
    std::vector<uint16_t> bits;
    for (const float number : numbers) bits.push_back(FromFloat<BFloat16>(number).bits);
    return Sha256::Of(absl::Span<const std::byte>(reinterpret_cast<const std::byte*>(bits.data()),
                                                  bits.size() * sizeof(uint16_t)));
  }

  void Tie() {
    base_.parameters.erase("lm_head.weight");
    base_.tied = {{"lm_head.weight", "model.embed_tokens.weight"}};
  }

  // One layer, and the tensors of the test.
  static AdapterFolder Files(const std::string& modules_to_save = "") {
    AdapterFolder files;
    files.config = R"({"peft_type": "SHIRA", "modules_to_save": [)" + modules_to_save + "]}";
    files.AddLayer("a", {{3, 2}}, {3.0f});
    return files;
  }
  static void Add(AdapterFolder& files, const std::string& name, std::vector<float> values) {
    files.AddTensor<float>("base_model.model." + name, DType::kF32, {4, 2}, values);
  }

  // The parameters that the adapter touches, in order.
  static std::vector<std::string> Touched(const SparseAdapter& adapter) {
    std::vector<std::string> names;
    for (const ParameterDelta& delta : adapter.deltas) names.push_back(delta.parameter);
    return names;
  }
};

TEST_F(PeftWholeTensorsTest, AFrozenWeightThatEqualsTheBaseIsNothing) {
  AdapterFolder files = Files();
  files.AddLayer("lm_head", {{0, 1}}, {2.0f});
  std::vector<float> frozen = Numbers("lm_head.weight");
  frozen[0] *= 1 + 0x1p-12f;  // the trainer had it in float32; it is equal in the resident dtype
  Add(files, "lm_head.base_layer.weight", frozen);
  ASSERT_OK_AND_ASSIGN(const auto adapter, ReadFolder(files));
  EXPECT_THAT(Touched(*adapter), ElementsAre("a.weight", "lm_head.weight"));
  EXPECT_EQ(adapter->deltas[1].kind, ValueKind::kDelta);
  EXPECT_THAT(adapter->deltas[1].values, ElementsAre(2.0f));
}

// As PEFT, which loads it into the base and adds the values to that.
TEST_F(PeftWholeTensorsTest, AFrozenWeightThatDiffersTakesTheBasesPlaceBeneathTheValues) {
  AdapterFolder files = Files();
  files.AddLayer("lm_head", {{0, 1}, {3, 0}}, {2.0f, 0x1p-20f});
  Add(files, "lm_head.base_layer.weight", {0, 1, 2, 3, 4, 5, 6 + 0x1p-18f, 7});
  ASSERT_OK_AND_ASSIGN(const auto adapter, ReadFolder(files));
  EXPECT_THAT(Touched(*adapter), ElementsAre("a.weight", "lm_head.weight"));
  EXPECT_EQ(adapter->deltas[1].kind, ValueKind::kReplacement);
  EXPECT_THAT(adapter->deltas[1].values, ElementsAre(0, 3, 2, 3, 4, 5, 6 + 0x1p-20f, 7));
}

TEST_F(PeftWholeTensorsTest, WithoutTheBasesHashesAFrozenWeightIsTheBases) {
  base_.hashes.clear();
  base_.dtype.reset();
  AdapterFolder files = Files();
  files.AddLayer("lm_head", {{0, 1}}, {2.0f});
  Add(files, "lm_head.base_layer.weight", {0, 1, 2, 3, 4, 5, 6, 7});
  ASSERT_OK_AND_ASSIGN(const auto adapter, ReadFolder(files));
  EXPECT_THAT(adapter->deltas[1].values, ElementsAre(2.0f));
}

// For programs without the model.
TEST_F(PeftWholeTensorsTest, AFrozenWeightTellsItsLayersShape) {
  AdapterFolder files = Files();
  files.AddLayer("lm_head", {{0, 1}}, {2.0f});
  Add(files, "lm_head.base_layer.weight", Numbers("lm_head.weight"));
  files.Write(temp_.Path("adapter"));
  ASSERT_OK_AND_ASSIGN(const AdapterFiles read, ReadAdapterFiles(temp_.Path("adapter"), 1 << 20));
  ASSERT_OK_AND_ASSIGN(const InferredShapes shapes, InferShapes(read));
  EXPECT_FALSE(shapes.exact);  // a's is not
  EXPECT_EQ(shapes.identity.parameters.at("lm_head.weight").rows, 4);
  EXPECT_EQ(shapes.identity.parameters.at("lm_head.weight").cols, 2);
  ASSERT_OK_AND_ASSIGN(const auto adapter, AdapterReader(shapes.identity, {}).Parse(read));
  EXPECT_THAT(Touched(*adapter), ElementsAre("a.weight", "lm_head.weight"));
}

TEST_F(PeftWholeTensorsTest, RefusesAFrozenWeightOfNoLayer) {
  AdapterFolder files = Files();
  Add(files, "lm_head.base_layer.weight", Numbers("lm_head.weight"));
  EXPECT_THAT(ReadFolder(files), StatusIs(kInvalid, HasSubstr("lm_head.base_layer.weight: left")));
}

TEST_F(PeftWholeTensorsTest, EmbeddingsThatEqualTheBaseAreNothing) {
  AdapterFolder files = Files();
  for (const char* name : {"model.embed_tokens.weight", "lm_head.weight"}) {
    Add(files, name, Numbers(name));
  }
  ASSERT_OK_AND_ASSIGN(const auto adapter, ReadFolder(files));
  EXPECT_THAT(Touched(*adapter), ElementsAre("a.weight"));
}

TEST_F(PeftWholeTensorsTest, EmbeddingsThatDifferTakeTheBasesPlace) {
  AdapterFolder files = Files();
  Add(files, "model.embed_tokens.weight", Numbers("model.embed_tokens.weight"));
  Add(files, "lm_head.weight", {0, 1, 2, 3, 4, 5, 6, 7});
  ASSERT_OK_AND_ASSIGN(const auto adapter, ReadFolder(files));
  EXPECT_THAT(Touched(*adapter), ElementsAre("a.weight", "lm_head.weight"));
  EXPECT_EQ(adapter->deltas[1].kind, ValueKind::kReplacement);
  EXPECT_THAT(adapter->deltas[1].values, ElementsAre(0, 1, 2, 3, 4, 5, 6, 7));
}

TEST_F(PeftWholeTensorsTest, RefusesEmbeddingsOfAnotherVocabulary) {
  AdapterFolder files = Files();
  files.AddTensor<float>("base_model.model.lm_head.weight", DType::kF32, {5, 2},
                         {0, 1, 2, 3, 4, 5, 6, 7, 8, 9});
  EXPECT_THAT(ReadFolder(files),
              StatusIs(kInvalid, HasSubstr("lm_head.weight: expected [4, 2], found F32 [5, 2]")));
}

// PEFT loads neither: the layer's own weight is called base_layer there.
TEST_F(PeftWholeTensorsTest, RefusesAWholeWeightOfALayer) {
  AdapterFolder files = Files();
  files.AddLayer("lm_head", {{0, 1}}, {2.0f});
  Add(files, "lm_head.weight", Numbers("lm_head.weight"));
  EXPECT_THAT(ReadFolder(files), StatusIs(kInvalid, HasSubstr("lm_head.weight: left over")));
}

TEST_F(PeftWholeTensorsTest, AModuleToSaveMayComeWithItsOriginal) {
  AdapterFolder files = Files("\"lm_head\"");
  Add(files, "lm_head.weight", {0, 1, 2, 3, 4, 5, 6, 7});
  Add(files, "lm_head.modules_to_save.weight", {0, 1, 2, 3, 4, 5, 6, 7});
  Add(files, "lm_head.original_module.weight", Numbers("lm_head.weight"));
  ASSERT_OK_AND_ASSIGN(const auto adapter, ReadFolder(files));
  EXPECT_THAT(Touched(*adapter), ElementsAre("a.weight", "lm_head.weight"));
  EXPECT_THAT(adapter->deltas[1].values, ElementsAre(0, 1, 2, 3, 4, 5, 6, 7));

  Add(files, "lm_head.modules_to_save.weight", {9, 1, 2, 3, 4, 5, 6, 7});
  Add(files, "lm_head.original_module.weight", {9, 1, 2, 3, 4, 5, 6, 7});
  EXPECT_THAT(ReadFolder(files),
              StatusIs(kInvalid, HasSubstr("lm_head.modules_to_save.weight: left over")));
  files.RemoveTensor("base_model.model.lm_head.modules_to_save.weight");
  EXPECT_THAT(ReadFolder(files),
              StatusIs(kInvalid, HasSubstr("lm_head.weight: expected the base model's own")));
}

TEST_F(PeftWholeTensorsTest, TiedEmbeddingsThatEqualTheBaseAreNothing) {
  Tie();
  for (const std::string modules : {"", "\"lm_head\", \"embed_tokens\""}) {
    AdapterFolder files = Files(modules);
    for (const char* name : {"model.embed_tokens.weight", "lm_head.weight"}) {
      Add(files, name, Numbers("model.embed_tokens.weight"));
    }
    ASSERT_OK_AND_ASSIGN(const auto adapter, ReadFolder(files));
    EXPECT_THAT(Touched(*adapter), ElementsAre("a.weight"));
  }
}

// As PEFT: loaded into the base, they take the place of the one matrix.
TEST_F(PeftWholeTensorsTest, TiedEmbeddingsThatDifferTakeTheBasesPlaceInBothUses) {
  Tie();
  AdapterFolder files = Files();
  Add(files, "lm_head.weight", {0, 1, 2, 3, 4, 5, 6, 7});
  ASSERT_OK_AND_ASSIGN(auto adapter, ReadFolder(files));
  EXPECT_THAT(Touched(*adapter), ElementsAre("a.weight", "model.embed_tokens.weight"));
  Add(files, "model.embed_tokens.weight", {0, 1, 2, 3, 4, 5, 6, 7});
  ASSERT_OK_AND_ASSIGN(adapter, ReadFolder(files));
  EXPECT_THAT(Touched(*adapter), ElementsAre("a.weight", "model.embed_tokens.weight"));
  for (const std::vector<float>& other :
       {std::vector<float>{0, 1, 2, 3, 4, 5, 6, 8}, Numbers("model.embed_tokens.weight")}) {
    Add(files, "model.embed_tokens.weight", other);
    EXPECT_THAT(ReadFolder(files), StatusIs(kInvalid, HasSubstr("one matrix for both")));
  }
}

TEST_F(PeftWholeTensorsTest, RefusesWhatIsForOneUseOfATiedMatrix) {
  Tie();
  AdapterFolder files = Files("\"lm_head\"");
  Add(files, "lm_head.weight", {0, 1, 2, 3, 4, 5, 6, 7});
  EXPECT_THAT(ReadFolder(files), StatusIs(kInvalid, HasSubstr("in two places")));
  files = Files();
  files.AddLayer("lm_head", {{0, 1}}, {2.0f});
  Add(files, "lm_head.base_layer.weight", Numbers("model.embed_tokens.weight"));
  EXPECT_THAT(
      ReadFolder(files),
      StatusIs(kInvalid, HasSubstr("lm_head.weight: it cannot be changed alone, because the "
                                   "model uses model.embed_tokens.weight there too")));
}

TEST_F(PeftShiraTest, RefusesAWholeTensorThatModulesToSaveDoesNotName) {
  AdapterFolder files = WithWholeModule();
  for (const char* config :
       {R"({"peft_type": "SHIRA"})", R"({"peft_type": "SHIRA", "modules_to_save": null})",
        R"({"peft_type": "SHIRA", "modules_to_save": [1, "c"]})"}) {
    files.config = config;
    EXPECT_THAT(ReadFolder(files),
                StatusIs(kInvalid, HasSubstr("base_model.model.b.weight: left over")));
  }
}

TEST_F(PeftShiraTest, RefusesAnOptionThatItDoesNotKnow) {
  AdapterFolder files = WithWholeModule();
  files.config =
      R"({"peft_type": "SHIRA", "modules_to_save": ["b"], "use_dora": true, "rank_pattern": {"a": 1}})";
  EXPECT_THAT(ReadFolder(files),
              StatusIs(kUnimplemented,
                       AllOf(HasSubstr("use_dora: expected it unset"), HasSubstr("rank_pattern"))));
}

TEST_F(PeftShiraTest, AcceptsAnUnknownOptionThatIsNotSet) {
  AdapterFolder files = WithWholeModule();
  files.config =
      R"({"peft_type": "SHIRA", "modules_to_save": ["b"], "a": null, "b": false, "c": [], "d": {},
          "e": ""})";
  EXPECT_THAT(ReadFolder(files), IsOk());
}

TEST_F(PeftShiraTest, IndicesMayHave64Bits) {
  AdapterFolder files = WithWholeModule();
  files.AddTensor<int64_t>("base_model.model.a.shira_indices", DType::kI64, {2, 2}, {3, 0, 2, 1});
  ASSERT_OK_AND_ASSIGN(const auto adapter, ReadFolder(files));
  EXPECT_THAT(Positions(adapter->deltas[0]), ElementsAre(1, 11));
  EXPECT_THAT(adapter->deltas[0].values, ElementsAre(1.0f, 3.0f));
}

TEST_F(PeftShiraTest, FanInFanOutHasNoEffect) {
  AdapterFolder files = WithWholeModule();
  ASSERT_OK_AND_ASSIGN(const auto without, ReadFolder(files));
  files.config = R"({"peft_type": "SHIRA", "modules_to_save": ["b"], "fan_in_fan_out": true})";
  ASSERT_OK_AND_ASSIGN(const auto with, ReadFolder(files));
  EXPECT_EQ(with->deltas[0].table->digest(), without->deltas[0].table->digest());
}

}  // namespace
}  // namespace shira
