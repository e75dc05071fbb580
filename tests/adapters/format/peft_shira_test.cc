#include "adapters/format/peft_shira.h"

#include <cmath>

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

TEST_F(PeftShiraTest, RefusesAWholeModuleWithAValueThatIsNotFinite) {
  AdapterFolder files = WithWholeModule();
  files.AddTensor<float>("base_model.model.b.weight", DType::kF32, {2, 5},
                         {0, 1, 2, 3, std::nanf(""), 5, 6, 7, 8, 9});
  EXPECT_THAT(ReadFolder(files), StatusIs(kInvalid, HasSubstr("b.weight: value 4")));
}

// PEFT's copy takes the place of one of the two, so the result is no state of these weights.
TEST_F(PeftShiraTest, RefusesAWholeModuleThatTheModelUsesInTwoPlaces) {
  base_.tied = {"b.weight"};
  EXPECT_THAT(ReadFolder(WithWholeModule()), StatusIs(kInvalid, HasSubstr("in two places")));
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
