#include "adapters/format/adapter_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>
#include <string>

#include "absl/status/status.h"
#include "tests/testutil/adapter_builder.h"
#include "tests/testutil/plain_weights.h"
#include "tests/testutil/status_matchers.h"

namespace shira {
namespace {

using ::shira::testing::AdapterFolder;
using ::shira::testing::FlatPositionsOf;
using ::shira::testing::IsOk;
using ::shira::testing::StatusIs;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

class AdapterReaderTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::path(::testing::TempDir()) /
              ::testing::UnitTest::GetInstance()->current_test_info()->name();
    std::filesystem::remove_all(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  static BaseModelIdentity Base() {
    BaseModelIdentity base;
    base.parameters = {{"a.weight", {4, 3}}, {"b.weight", {2, 5}}, {"wide.weight", {2, 70000}}};
    base.names = {"Org/Model-1B", "model-1b-q4_1"};
    return base;
  }

  // An adapter with nothing wrong; tests break a copy.
  static AdapterFolder Good() {
    AdapterFolder files;
    files.AddLayer("a", {{3, 2}, {0, 1}, {0, 0}}, {3.0f, 1.0f, 0.5f});
    files.AddLayer("b", {{1, 4}}, {-2.0f});
    return files;
  }

  absl::StatusOr<std::shared_ptr<const SparseAdapter>> Read(const AdapterFolder& files,
                                                            AdapterLimits limits = {}) {
    files.Write(folder_);
    return AdapterReader(Base(), limits).Read(folder_.string());
  }

  std::filesystem::path folder_;
};

using ::shira::testing::kInvalid;

TEST_F(AdapterReaderTest, SortsTheEntriesOfEveryLayer) {
  const AdapterFolder files = Good();
  ASSERT_OK_AND_ASSIGN(const auto adapter, Read(files));
  ASSERT_EQ(adapter->deltas.size(), 2);
  EXPECT_EQ(adapter->deltas[0].parameter, "a.weight");
  EXPECT_THAT(adapter->deltas[0].values, ElementsAre(0.5f, 1.0f, 3.0f));
  EXPECT_THAT(FlatPositionsOf(*adapter->deltas[0].table), ElementsAre(0, 1, 11));
  EXPECT_EQ(adapter->deltas[1].parameter, "b.weight");
  EXPECT_EQ(adapter->entries(), 4);
  EXPECT_EQ(adapter->format, "peft_shira");
  EXPECT_EQ(adapter->digest, Sha256::Of(files.tensors()));
}

TEST_F(AdapterReaderTest, KeepsColumnsBeyondSixteenBits) {
  AdapterFolder files;
  files.AddLayer("wide", {{1, 69999}, {0, 65536}}, {1.0f, 2.0f});
  ASSERT_OK_AND_ASSIGN(const auto adapter, Read(files));
  EXPECT_THAT(FlatPositionsOf(*adapter->deltas[0].table), ElementsAre(65536, 70000 + 69999));
}

TEST_F(AdapterReaderTest, SharesEqualIndexTables) {
  BaseModelIdentity base;
  base.parameters = {{"a.weight", {4, 3}}, {"b.weight", {4, 3}}};
  AdapterFolder files;
  files.AddLayer("a", {{3, 2}, {0, 1}}, {3.0f, 1.0f});
  files.AddLayer("b", {{0, 1}, {3, 2}}, {5.0f, 6.0f});
  files.Write(folder_);
  const AdapterReader reader(base, {});
  ASSERT_OK_AND_ASSIGN(const auto first, reader.Read(folder_.string()));
  ASSERT_OK_AND_ASSIGN(const auto second, reader.Read(folder_.string()));
  EXPECT_EQ(first->deltas[0].table, first->deltas[1].table);
  EXPECT_EQ(first->deltas[0].table, second->deltas[0].table);
}

TEST_F(AdapterReaderTest, AcceptsIntegralFloatIndices) {
  AdapterFolder files = Good();
  files.AddTensor<float>("base_model.model.a.shira_indices", DType::kF32, {2, 3},
                         {3, 0, 0, 2, 1, 0});
  ASSERT_OK_AND_ASSIGN(const auto adapter, Read(files));
  EXPECT_THAT(adapter->deltas[0].values, ElementsAre(0.5f, 1.0f, 3.0f));
}

TEST_F(AdapterReaderTest, RefusesFractionalFloatIndices) {
  AdapterFolder files = Good();
  files.AddTensor<float>("base_model.model.a.shira_indices", DType::kF32, {2, 3},
                         {3, 0.5f, std::nanf(""), 2, 1, 0});
  EXPECT_THAT(Read(files),
              StatusIs(kInvalid, AllOf(HasSubstr("a.weight: index 1: expected an integer"),
                                       HasSubstr("1 more like it"))));
}

TEST_F(AdapterReaderTest, RefusesAnIndexOutOfRange) {
  for (const auto& [row, col] :
       std::vector<std::pair<int, int>>{{4, 0}, {0, 3}, {-1, 0}, {0, -1}}) {
    AdapterFolder files;
    files.AddLayer("a", {{0, 0}, {row, col}}, {1.0f, 1.0f});
    EXPECT_THAT(Read(files),
                StatusIs(kInvalid, HasSubstr("index 1: expected within [4, 3], found [")))
        << row << " " << col;
  }
}

TEST_F(AdapterReaderTest, RefusesADuplicateIndex) {
  AdapterFolder files;
  files.AddLayer("a", {{2, 1}, {0, 0}, {2, 1}}, {1.0f, 1.0f, 1.0f});
  EXPECT_THAT(Read(files), StatusIs(kInvalid, HasSubstr("a.weight: duplicate index [2, 1]")));
}

TEST_F(AdapterReaderTest, RefusesValuesThatAreNotFinite) {
  for (const float bad : {std::nanf(""), std::numeric_limits<float>::infinity(),
                          -std::numeric_limits<float>::infinity()}) {
    AdapterFolder files;
    files.AddLayer("a", {{2, 1}, {0, 0}}, {1.0f, bad});
    EXPECT_THAT(Read(files),
                StatusIs(kInvalid, HasSubstr("a.weight: value 1: expected a finite one")));
  }
}

TEST_F(AdapterReaderTest, RefusesAParameterThatTheModelDoesNotHave) {
  AdapterFolder files = Good();
  files.AddLayer("model.c", {{0, 0}}, {1.0f});
  EXPECT_THAT(Read(files),
              StatusIs(kInvalid, HasSubstr("model.c.weight: the model has no such matrix")));
}

TEST_F(AdapterReaderTest, RefusesAnAdapterWithoutLayers) {
  EXPECT_THAT(Read(AdapterFolder()),
              StatusIs(kInvalid, HasSubstr("no parameter of the model is touched")));
}

TEST_F(AdapterReaderTest, RefusesALayerWithoutEntries) {
  AdapterFolder files = Good();
  files.AddLayer("a", {}, {});
  EXPECT_THAT(Read(files), StatusIs(kInvalid, HasSubstr("a.weight: no entries")));
}

TEST_F(AdapterReaderTest, RefusesWrongShapes) {
  AdapterFolder files = Good();
  files.AddTensor<float>("base_model.model.a.shira_weight", DType::kF32, {3, 1}, {1, 2, 3});
  EXPECT_THAT(Read(files),
              StatusIs(kInvalid, HasSubstr("a.shira_weight: expected F32 [n], found F32 [3, 1]")));
  files = Good();
  files.AddTensor<int32_t>("base_model.model.a.shira_indices", DType::kI32, {3, 2},
                           {0, 1, 2, 0, 1, 2});
  EXPECT_THAT(
      Read(files),
      StatusIs(kInvalid, HasSubstr("a.shira_indices: expected I32 [2, n], found I32 [3, 2]")));
  files = Good();
  files.AddTensor<int32_t>("base_model.model.a.shira_indices", DType::kI32, {2, 2}, {0, 1, 2, 0});
  EXPECT_THAT(Read(files),
              StatusIs(kInvalid, HasSubstr("expected [2, 3] like its weight, found I32 [2, 2]")));
}

TEST_F(AdapterReaderTest, RefusesWrongDtypes) {
  AdapterFolder files = Good();
  files.AddTensor<int32_t>("base_model.model.a.shira_weight", DType::kI32, {3}, {1, 2, 3});
  EXPECT_THAT(Read(files), StatusIs(kInvalid, HasSubstr("expected F32 [n], found I32 [3]")));
  files = Good();
  files.AddTensor<uint8_t>("base_model.model.a.shira_indices", DType::kU8, {2, 3},
                           {0, 1, 2, 0, 1, 2});
  EXPECT_THAT(Read(files), StatusIs(kInvalid, HasSubstr("expected I32 [2, n], found U8 [2, 3]")));
}

TEST_F(AdapterReaderTest, RefusesHalfOfALayer) {
  AdapterFolder files = Good();
  files.RemoveTensor("base_model.model.a.shira_indices");
  EXPECT_THAT(Read(files), StatusIs(kInvalid, HasSubstr("a.shira_indices: missing")));
  files = Good();
  files.RemoveTensor("base_model.model.b.shira_weight");
  EXPECT_THAT(Read(files), StatusIs(kInvalid, HasSubstr("b.shira_weight: missing")));
}

TEST_F(AdapterReaderTest, RefusesTensorsLeftOver) {
  AdapterFolder files = Good();
  files.AddTensor<float>("base_model.model.router.weight", DType::kF32, {1}, {1});
  files.AddTensor<float>("stranger", DType::kF32, {1}, {1});
  EXPECT_THAT(Read(files),
              StatusIs(kInvalid, AllOf(HasSubstr("base_model.model.router.weight: left over"),
                                       HasSubstr("stranger: left over"))));
}

TEST_F(AdapterReaderTest, ReportsEveryProblemAtOnce) {
  AdapterFolder files;
  files.AddLayer("a", {{0, 0}, {0, 0}, {9, 9}}, {1.0f, std::nanf(""), 1.0f});
  files.AddLayer("nowhere", {{0, 0}}, {1.0f});
  EXPECT_THAT(
      Read(files),
      StatusIs(kInvalid, AllOf(HasSubstr("duplicate index"), HasSubstr("expected within"),
                               HasSubstr("expected a finite one"), HasSubstr("nowhere.weight"))));
}

TEST_F(AdapterReaderTest, ErrorsAreShortHoweverLongNamesAre) {
  const std::string name(1'000'000, 'n');
  for (const int layers : {1, 20}) {
    AdapterFolder files;
    for (int i = 0; i < layers; ++i) files.AddLayer(name + std::to_string(i), {{0, 0}}, {1.0f});
    const absl::Status status = Read(files).status();
    EXPECT_THAT(status, StatusIs(kInvalid, HasSubstr("bytes left out")));
    EXPECT_LT(status.message().size(), 20'000u);
  }
  AdapterFolder files = Good();
  files.config = R"({"peft_type": ")" + name + R"("})";
  EXPECT_LT(Read(files).status().message().size(), 20'000u);
  files.config = R"({"peft_type": "SHIRA", "base_model_name_or_path": ")" + name + R"("})";
  EXPECT_THAT(Read(files), StatusIs(kInvalid, HasSubstr("found 1000000")));
}

TEST_F(AdapterReaderTest, RefusesAnAdapterOfAnotherBase) {
  AdapterFolder files = Good();
  files.config = R"({"peft_type": "SHIRA", "base_model_name_or_path": "meta-llama/Llama-2-7b"})";
  EXPECT_THAT(Read(files),
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       AllOf(HasSubstr("meta-llama/Llama-2-7b"), HasSubstr("Org/Model-1B"))));
}

TEST_F(AdapterReaderTest, RefusesUnknownFormatsAndNamesTheKnown) {
  AdapterFolder files = Good();
  files.config = R"({"peft_type": "LORA"})";
  EXPECT_THAT(Read(files), StatusIs(absl::StatusCode::kUnimplemented,
                                    AllOf(HasSubstr("SHIRA"), HasSubstr("LORA"))));
  files.config = R"({"r": 2})";
  EXPECT_THAT(Read(files), StatusIs(kInvalid, HasSubstr("peft_type")));
  files.config = "[]";
  EXPECT_THAT(Read(files), StatusIs(kInvalid, HasSubstr("expected a JSON object, found array")));
  files.config = "{";
  EXPECT_THAT(Read(files), StatusIs(kInvalid, HasSubstr("malformed JSON")));
}

TEST_F(AdapterReaderTest, NamesTheFileThatIsMissing) {
  const AdapterReader reader(Base(), {});
  constexpr auto kNotFound = absl::StatusCode::kNotFound;
  EXPECT_THAT(reader.Read(folder_.string()),
              StatusIs(kNotFound, HasSubstr("expected an adapter's folder or file")));
  Good().Write(folder_);
  std::filesystem::remove(folder_ / "adapter_model.safetensors");
  EXPECT_THAT(reader.Read(folder_.string()),
              StatusIs(kNotFound, HasSubstr("adapter_model.safetensors")));
  std::ofstream(folder_ / "adapter_model.bin") << "pickle";
  EXPECT_THAT(reader.Read(folder_.string()), StatusIs(kNotFound, HasSubstr("safe_serialization")));
  std::filesystem::remove(folder_ / "adapter_config.json");
  EXPECT_THAT(reader.Read(folder_.string()), StatusIs(kNotFound, HasSubstr("adapter_config.json")));
}

TEST_F(AdapterReaderTest, RefusesWhatIsBeyondTheLimits) {
  EXPECT_THAT(Read(Good(), {.max_file_bytes = 64}),
              StatusIs(kInvalid, AllOf(HasSubstr("adapter_model.safetensors"),
                                       HasSubstr("at most 64 bytes, found"))));
  EXPECT_THAT(Read(Good(), {.max_entries = 3}),
              StatusIs(kInvalid, HasSubstr("at most 3 entries, found 4")));
}

// Every truncation and a flip of every bit of the header: an error or an adapter that passed all
// checks, never a crash.
TEST_F(AdapterReaderTest, SurvivesDamagedFiles) {
  const AdapterFolder files = Good();
  const std::string whole = files.tensors();
  files.Write(folder_);
  const AdapterReader reader(Base(), {});
  const auto read_damaged = [&](const std::string& bytes) {
    std::ofstream(folder_ / "adapter_model.safetensors", std::ios::binary) << bytes;
    return reader.Read(folder_.string());
  };
  for (size_t length = 0; length < whole.size(); ++length) {
    EXPECT_THAT(read_damaged(whole.substr(0, length)), Not(IsOk())) << length;
  }
  for (size_t bit = 0; bit < whole.size() * 8; ++bit) {
    std::string damaged = whole;
    damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << (bit % 8)));
    if (const auto adapter = read_damaged(damaged); adapter.ok()) {
      EXPECT_LE((*adapter)->entries(), 4);
    }
  }
}

}  // namespace
}  // namespace shira
