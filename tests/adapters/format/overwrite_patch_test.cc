#include "adapters/format/overwrite_patch.h"

#include <limits>

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

class OverwritePatchTest : public FormatTest {
 protected:
  static AdapterFolder Good() {
    AdapterFolder files;
    files.AddTensor<int32_t>("a.weight.indices", DType::kI32, {3}, {11, 1, 0});
    files.AddTensor<uint16_t>("a.weight.values", DType::kBF16, {3}, {0x3F80, 0x4000, 0xBF80});
    files.AddTensor<int64_t>("norm.weight.indices", DType::kI64, {1}, {2});
    files.AddTensor<uint16_t>("norm.weight.values", DType::kF16, {1}, {0x3C00});
    return files;
  }
};

TEST_F(OverwritePatchTest, ReplacesWeights) {
  ASSERT_OK_AND_ASSIGN(const auto adapter, ReadFile(Good()));
  EXPECT_EQ(adapter->format, "overwrite_patch");
  ASSERT_EQ(adapter->deltas.size(), 2);
  EXPECT_EQ(adapter->deltas[0].kind, ValueKind::kReplacement);
  EXPECT_THAT(Positions(adapter->deltas[0]), ElementsAre(0, 1, 11));
  EXPECT_THAT(adapter->deltas[0].values, ElementsAre(-1.0f, 2.0f, 1.0f));
  EXPECT_EQ(adapter->deltas[1].parameter, "norm.weight");
  EXPECT_THAT(adapter->deltas[1].values, ElementsAre(1.0f));
}

TEST_F(OverwritePatchTest, TakesTheShortNamesAndGaps) {
  AdapterFolder files;
  files.metadata = {{"format", "sparse_weight_patch"}, {"encoding", "gap_delta"}};
  files.AddTensor<uint16_t>("a.weight.idx", DType::kU16, {3}, {0, 3, 6});
  files.AddTensor<float>("a.weight.val", DType::kF32, {3}, {1, 2, 3});
  files.AddTensor<uint32_t>("b.weight.idx", DType::kU32, {2}, {1, 7});
  files.AddTensor<float>("b.weight.val", DType::kF32, {2}, {4, 5});
  ASSERT_OK_AND_ASSIGN(const auto adapter, ReadFile(files));
  EXPECT_THAT(Positions(adapter->deltas[0]), ElementsAre(0, 4, 11));
  EXPECT_THAT(Positions(adapter->deltas[1]), ElementsAre(1, 9));
  EXPECT_THAT(adapter->deltas[1].values, ElementsAre(4, 5));
}

TEST_F(OverwritePatchTest, RefusesAnotherEncoding) {
  AdapterFolder files = Good();
  files.metadata = {{"encoding", "raw"}};
  EXPECT_THAT(ReadFile(files), IsOk());
  files.metadata = {{"encoding", "nvcomp_cascaded"}};
  EXPECT_THAT(ReadFile(files), StatusIs(kUnimplemented, HasSubstr("nvcomp_cascaded")));
}

TEST_F(OverwritePatchTest, RefusesPositionsWhoseDtypeContradictsTheEncoding) {
  AdapterFolder files = Good();
  files.metadata = {{"encoding", "gap_delta"}};
  EXPECT_THAT(ReadFile(files), StatusIs(kInvalid, HasSubstr("expected U16 or U32 [n], found I32")));
  files = Good();
  files.AddTensor<uint16_t>("a.weight.indices", DType::kU16, {3}, {0, 3, 6});
  EXPECT_THAT(ReadFile(files), StatusIs(kInvalid, HasSubstr("expected I32 or I64 [n], found U16")));
}

TEST_F(OverwritePatchTest, RefusesGapsThatLeadBeyondTheParameter) {
  AdapterFolder files;
  files.metadata = {{"encoding", "gap_delta"}};
  files.AddTensor<uint16_t>("a.weight.idx", DType::kU16, {2}, {0, 11});
  files.AddTensor<float>("a.weight.val", DType::kF32, {2}, {1, 2});
  EXPECT_THAT(ReadFile(files), StatusIs(kInvalid, HasSubstr("expected within [0, 12)")));
}

TEST_F(OverwritePatchTest, RefusesPositionsOutOfRangeOrDuplicate) {
  AdapterFolder files = Good();
  files.AddTensor<int32_t>("a.weight.indices", DType::kI32, {3}, {11, 12, 0});
  EXPECT_THAT(ReadFile(files), StatusIs(kInvalid, HasSubstr("index 1: expected within")));
  files.AddTensor<int32_t>("a.weight.indices", DType::kI32, {3}, {11, 0, 11});
  EXPECT_THAT(ReadFile(files), StatusIs(kInvalid, HasSubstr("duplicate index [3, 2]")));
  files.AddTensor<int64_t>("a.weight.indices", DType::kI64, {3},
                           {0, 1, std::numeric_limits<int64_t>::min()});
  EXPECT_THAT(ReadFile(files), StatusIs(kInvalid, HasSubstr("index 2: expected within")));
}

TEST_F(OverwritePatchTest, RefusesAValueThatIsNotFinite) {
  AdapterFolder files = Good();
  files.AddTensor<uint16_t>("a.weight.values", DType::kBF16, {3}, {0x3F80, 0x7FC0, 0x7F80});
  EXPECT_THAT(ReadFile(files), StatusIs(kInvalid, AllOf(HasSubstr("a.weight: value 1"),
                                                        HasSubstr("1 more like it"))));
}

TEST_F(OverwritePatchTest, RefusesHalfAPair) {
  AdapterFolder files = Good();
  files.RemoveTensor("norm.weight.values");
  EXPECT_THAT(ReadFile(files), StatusIs(kInvalid, HasSubstr("norm.weight.values: missing")));
  files = Good();
  files.RemoveTensor("norm.weight.indices");
  EXPECT_THAT(ReadFile(files), StatusIs(kInvalid, HasSubstr("norm.weight.indices: missing")));
}

TEST_F(OverwritePatchTest, RefusesTensorsLeftOver) {
  AdapterFolder files = Good();
  files.AddTensor<float>("b.weight", DType::kF32, {1}, {1});
  files.AddTensor<float>("a.weight.val", DType::kF32, {1}, {1});
  EXPECT_THAT(ReadFile(files), StatusIs(kInvalid, AllOf(HasSubstr("b.weight: left over"),
                                                        HasSubstr("a.weight.val"))));
}

TEST_F(OverwritePatchTest, RefusesWrongShapesAndDtypes) {
  AdapterFolder files = Good();
  files.AddTensor<int32_t>("a.weight.values", DType::kI32, {3}, {1, 2, 3});
  EXPECT_THAT(ReadFile(files),
              StatusIs(kInvalid, HasSubstr("expected BF16, F16 or F32 [n], found I32 [3]")));
  files = Good();
  files.AddTensor<int32_t>("a.weight.indices", DType::kI32, {1, 3}, {1, 2, 3});
  EXPECT_THAT(ReadFile(files),
              StatusIs(kInvalid, HasSubstr("expected I32 or I64 [n], found I32 [1, 3]")));
  files = Good();
  files.AddTensor<int32_t>("a.weight.indices", DType::kI32, {2}, {1, 2});
  EXPECT_THAT(ReadFile(files),
              StatusIs(kInvalid, HasSubstr("expected [3] like its values, found I32 [2]")));
}

TEST_F(OverwritePatchTest, RefusesAParameterThatTheModelDoesNotHave) {
  AdapterFolder files = Good();
  files.AddTensor<int32_t>("c.weight.indices", DType::kI32, {1}, {1});
  files.AddTensor<float>("c.weight.values", DType::kF32, {1}, {1});
  EXPECT_THAT(ReadFile(files),
              StatusIs(kInvalid, HasSubstr("c.weight: the model has no such matrix")));
}

}  // namespace
}  // namespace shira
