#include "adapters/format/peft_supertuning.h"

#include "tests/adapters/format/format_fixture.h"

namespace shira {
namespace {

using ::shira::testing::AdapterFolder;
using ::shira::testing::FormatTest;
using ::shira::testing::IsOk;
using ::shira::testing::StatusIs;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr char kIndices[] = "base_model.model.a.supertuning_indices";
constexpr char kValues[] = "base_model.model.a.supertuning_values";

class PeftSupertuningTest : public FormatTest {
 protected:
  static AdapterFolder Good() {
    AdapterFolder files;
    files.config = R"({"peft_type": "SUPERTUNING", "sparsity": 0.99, "r": null,
                       "lora_dropout": 0.0, "save_precomputed_indices": true})";
    files.AddTensor<int32_t>(kIndices, DType::kI32, {3}, {11, 1, 0});
    files.AddTensor<float>(kValues, DType::kF32, {3}, {3.0f, 1.00390625f, 0.5f});
    return files;
  }
};

TEST_F(PeftSupertuningTest, SortsFlatPositions) {
  ASSERT_OK_AND_ASSIGN(const auto adapter, ReadFolder(Good()));
  EXPECT_EQ(adapter->format, "peft_supertuning");
  ASSERT_EQ(adapter->deltas.size(), 1);
  EXPECT_EQ(adapter->deltas[0].parameter, "a.weight");
  EXPECT_EQ(adapter->deltas[0].kind, ValueKind::kDelta);
  EXPECT_THAT(Positions(adapter->deltas[0]), ElementsAre(0, 1, 11));
  EXPECT_THAT(adapter->deltas[0].values, ElementsAre(0.5f, 1.00390625f, 3.0f));
}

// 1.00390625 lies between two bf16 numbers, and the even one is 1.
TEST_F(PeftSupertuningTest, RoundsValuesToTheResidentDtype) {
  base_.dtype = DType::kBF16;
  ASSERT_OK_AND_ASSIGN(const auto rounded, ReadFolder(Good()));
  EXPECT_TRUE(rounded->rounds_values);
  EXPECT_THAT(rounded->deltas[0].values, ElementsAre(0.5f, 1.0f, 3.0f));
  base_.dtype = DType::kF16;
  ASSERT_OK_AND_ASSIGN(const auto exact, ReadFolder(Good()));
  EXPECT_THAT(exact->deltas[0].values, ElementsAre(0.5f, 1.00390625f, 3.0f));
}

TEST_F(PeftSupertuningTest, RefusesAValueThatTheResidentDtypeCannotHold) {
  AdapterFolder files = Good();
  files.AddTensor<float>(kValues, DType::kF32, {3}, {3.0f, 1e6f, 0.5f});
  EXPECT_THAT(ReadFolder(files), IsOk());
  base_.dtype = DType::kF16;
  EXPECT_THAT(ReadFolder(files), StatusIs(kInvalid, HasSubstr("a.weight: value 1")));
}

TEST_F(PeftSupertuningTest, RefusesAPositionOutOfRange) {
  for (const int32_t bad : {12, -1}) {
    AdapterFolder files = Good();
    files.AddTensor<int32_t>(kIndices, DType::kI32, {3}, {11, bad, 0});
    EXPECT_THAT(ReadFolder(files),
                StatusIs(kInvalid, HasSubstr("index 1: expected within [0, 12) for [4, 3]")));
  }
}

TEST_F(PeftSupertuningTest, RefusesADuplicatePosition) {
  AdapterFolder files = Good();
  files.AddTensor<int32_t>(kIndices, DType::kI32, {3}, {11, 0, 11});
  EXPECT_THAT(ReadFolder(files), StatusIs(kInvalid, HasSubstr("duplicate index [3, 2]")));
}

TEST_F(PeftSupertuningTest, RefusesTheLowRankPart) {
  AdapterFolder files = Good();
  files.config = R"({"peft_type": "SUPERTUNING", "r": 2})";
  EXPECT_THAT(ReadFolder(files), StatusIs(kUnimplemented, HasSubstr("r: expected it unset")));
}

TEST_F(PeftSupertuningTest, RefusesATensorOfTheLowRankPart) {
  AdapterFolder files = Good();
  files.AddTensor<float>("base_model.model.a.supertuning_lora_A.weight", DType::kF32, {1}, {1});
  EXPECT_THAT(ReadFolder(files),
              StatusIs(kInvalid, HasSubstr("a.supertuning_lora_A.weight: left over")));
}

TEST_F(PeftSupertuningTest, RefusesIndicesThatWereNotSaved) {
  AdapterFolder files = Good();
  files.RemoveTensor(kIndices);
  EXPECT_THAT(ReadFolder(files), StatusIs(kInvalid, HasSubstr("a.supertuning_indices: missing")));
  files.config = R"({"peft_type": "SUPERTUNING", "save_precomputed_indices": false})";
  EXPECT_THAT(ReadFolder(files),
              StatusIs(kUnimplemented, HasSubstr("save_precomputed_indices: expected true")));
}

TEST_F(PeftSupertuningTest, RefusesIndicesWithoutValues) {
  AdapterFolder files = Good();
  files.RemoveTensor(kValues);
  EXPECT_THAT(ReadFolder(files), StatusIs(kInvalid, HasSubstr("a.supertuning_values: missing")));
}

TEST_F(PeftSupertuningTest, RefusesWrongShapesAndDtypes) {
  AdapterFolder files = Good();
  files.AddTensor<int32_t>(kIndices, DType::kI32, {2, 3}, {0, 0, 0, 0, 1, 2});
  EXPECT_THAT(ReadFolder(files),
              StatusIs(kInvalid, HasSubstr("expected I32 [n], found I32 [2, 3]")));
  files = Good();
  files.AddTensor<float>(kIndices, DType::kF32, {3}, {0, 1, 2});
  EXPECT_THAT(ReadFolder(files), StatusIs(kInvalid, HasSubstr("expected I32 [n], found F32 [3]")));
  files = Good();
  files.AddTensor<int32_t>(kValues, DType::kI32, {3}, {0, 1, 2});
  EXPECT_THAT(ReadFolder(files), StatusIs(kInvalid, HasSubstr("expected F32 [n], found I32 [3]")));
  files = Good();
  files.AddTensor<float>(kValues, DType::kF32, {2}, {0, 1});
  EXPECT_THAT(ReadFolder(files),
              StatusIs(kInvalid, HasSubstr("expected [2] like its values, found I32 [3]")));
}

}  // namespace
}  // namespace shira
