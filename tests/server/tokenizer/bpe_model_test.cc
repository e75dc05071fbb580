#include "server/tokenizer/bpe_model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "tests/testutil/status_matchers.h"

namespace shira {
namespace {

using ::shira::testing::IsOk;
using ::shira::testing::StatusIs;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<int32_t> Encode(const BpeModel& model, std::string_view piece) {
  std::vector<int32_t> ids;
  EXPECT_THAT(model.Encode(piece, ids), IsOk());
  return ids;
}

TEST(BpeModelTest, MergesTheLowestRankFirstAndTheLeftmostOfEqualOnes) {
  ASSERT_OK_AND_ASSIGN(const BpeModel model,
                       BpeModel::Create({"a", "b", "c", "bc", "ab", "aa"},
                                        {{"b", "c"}, {"a", "b"}, {"a", "a"}}, {}));
  EXPECT_THAT(Encode(model, "abc"), ElementsAre(0, 3));
  EXPECT_THAT(Encode(model, "aaa"), ElementsAre(5, 0));
  EXPECT_THAT(Encode(model, ""), ElementsAre());
}

TEST(BpeModelTest, IgnoreMergesTakesAWholePiece) {
  const std::vector<std::string> tokens = {"a", "b", "ab"};
  ASSERT_OK_AND_ASSIGN(const BpeModel merging, BpeModel::Create(tokens, {}, {}));
  EXPECT_THAT(Encode(merging, "ab"), ElementsAre(0, 1));
  ASSERT_OK_AND_ASSIGN(const BpeModel whole, BpeModel::Create(tokens, {}, {.ignore_merges = true}));
  EXPECT_THAT(Encode(whole, "ab"), ElementsAre(2));
}

// The definition, in quadratic time.
std::vector<int32_t> EncodeByDefinition(const std::vector<std::string>& tokens,
                                        const std::vector<BpeModel::Merge>& merges,
                                        const std::string& piece) {
  std::vector<std::string> parts;
  for (const char c : piece) parts.emplace_back(1, c);
  while (true) {
    size_t best_rank = merges.size();
    size_t best_place = 0;
    for (size_t i = 0; i + 1 < parts.size(); ++i) {
      for (size_t rank = 0; rank < best_rank; ++rank) {
        if (merges[rank] == BpeModel::Merge(parts[i], parts[i + 1])) {
          best_rank = rank;
          best_place = i;
        }
      }
    }
    if (best_rank == merges.size()) break;
    parts[best_place] += parts[best_place + 1];
    parts.erase(parts.begin() + static_cast<ptrdiff_t>(best_place) + 1);
  }
  std::vector<int32_t> ids;
  for (const std::string& part : parts) {
    ids.push_back(
        static_cast<int32_t>(std::find(tokens.begin(), tokens.end(), part) - tokens.begin()));
  }
  return ids;
}

TEST(BpeModelTest, EqualsTheDefinitionOnRandomMerges) {
  std::mt19937 random(7);
  for (int round = 0; round < 200; ++round) {
    std::vector<std::string> tokens = {"a", "b", "c"};
    std::vector<BpeModel::Merge> merges;
    while (merges.size() < 12) {
      const BpeModel::Merge merge(tokens[random() % tokens.size()],
                                  tokens[random() % tokens.size()]);
      if (std::find(tokens.begin(), tokens.end(), merge.first + merge.second) != tokens.end())
        continue;
      tokens.push_back(merge.first + merge.second);
      merges.push_back(merge);
    }
    std::shuffle(merges.begin(), merges.end(), random);
    ASSERT_OK_AND_ASSIGN(const BpeModel model, BpeModel::Create(tokens, merges, {}));
    std::string piece;
    for (int i = 0; i < 40; ++i) piece += "abc"[random() % 3];
    ASSERT_EQ(Encode(model, piece), EncodeByDefinition(tokens, merges, piece)) << piece;
  }
}

// 8 MiB in one piece: hours if the time were quadratic.
TEST(BpeModelTest, TakesAPieceOfManyMegabytes) {
  ASSERT_OK_AND_ASSIGN(const BpeModel model,
                       BpeModel::Create({"a", "aa", "aaaa"}, {{"a", "a"}, {"aa", "aa"}}, {}));
  const std::vector<int32_t> ids = Encode(model, std::string((8 << 20) + 1, 'a'));
  EXPECT_EQ(ids.size(), (size_t{8} << 20) / 4 + 1);
  EXPECT_EQ(ids.back(), 0);
}

TEST(BpeModelTest, RefusesVocabulariesThatContradictThemselves) {
  EXPECT_THAT(BpeModel::Create({"a", "b", "a"}, {}, {}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("'a' has two ids, 0 and 2")));
  EXPECT_THAT(
      BpeModel::Create({"a", "b"}, {{"a", "c"}}, {}),
      StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("merge 0 ('a' and 'c'): 'c'")));
  EXPECT_THAT(
      BpeModel::Create({"a", "b"}, {{"a", "b"}}, {}),
      StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("'ab' is not in the vocabulary")));
}

TEST(BpeModelTest, AnUnknownTokenMayBeMissingAsLongAsNothingIsUnknown) {
  ASSERT_OK_AND_ASSIGN(const BpeModel model, BpeModel::Create({"a"}, {}, {.unknown_token = "?"}));
  EXPECT_THAT(Encode(model, "aa"), ElementsAre(0, 0));
  std::vector<int32_t> ids;
  EXPECT_THAT(model.Encode("ab", ids),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("no token for 'b'")));
}

}  // namespace
}  // namespace shira
