#include "server/tokenizer/token_model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "server/tokenizer/score_merge_model.h"
#include "server/tokenizer/unigram_model.h"
#include "tests/testutil/status_matchers.h"

namespace shira {
namespace {

using nlohmann::json;
using ::shira::testing::IsOk;
using ::shira::testing::StatusIs;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<int32_t> Encode(const TokenModel& model, std::string_view piece) {
  std::vector<int32_t> ids;
  EXPECT_THAT(model.Encode(piece, ids), IsOk());
  return ids;
}

// As from a file, where numbers that are not negative are unsigned.
absl::StatusOr<std::unique_ptr<const TokenModel>> Make(const json& root) {
  return TokenModel::FromJson(json::parse(root.dump()), "model");
}

std::vector<int32_t> Encode(const json& root, std::string_view piece) {
  const auto model = Make(root);
  EXPECT_TRUE(model.ok()) << model.status();
  return model.ok() ? Encode(**model, piece) : std::vector<int32_t>();
}

TEST(TokenModelTest, WordPieceTakesTheLongestTokenThatFits) {
  const json model = {{"type", "WordPiece"},
                      {"unk_token", "?"},
                      {"continuing_subword_prefix", "##"},
                      {"max_input_chars_per_word", 6},
                      {"vocab", {{"?", 0}, {"un", 1}, {"##use", 2}, {"##used", 3}, {"u", 4}}}};
  EXPECT_THAT(Encode(model, "unused"), ElementsAre(1, 3));
  EXPECT_THAT(Encode(model, "ununse"), ElementsAre(0)) << "##un is no token";
  EXPECT_THAT(Encode(model, "unuseds"), ElementsAre(0)) << "too long";
  EXPECT_THAT(Encode(model, "\u00e9"), ElementsAre(0));
}

TEST(TokenModelTest, WordLevelTakesWholePieces) {
  json model = {{"type", "WordLevel"}, {"unk_token", "?"}, {"vocab", {{"?", 0}, {"a b", 1}}}};
  EXPECT_THAT(Encode(model, "a b"), ElementsAre(1));
  EXPECT_THAT(Encode(model, "a"), ElementsAre(0));
  model["unk_token"] = "none";
  ASSERT_OK_AND_ASSIGN(const auto strict, Make(model));
  std::vector<int32_t> ids;
  EXPECT_THAT(strict->Encode("a", ids),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("no token for 'a'")));
}

TEST(TokenModelTest, AModelWithoutATypeIsTheOneWhoseMembersItHas) {
  EXPECT_THAT(Encode({{"unk_token", "?"}, {"vocab", {{"ab", 3}}}}, "ab"), ElementsAre(3));
  EXPECT_THAT(Encode({{"vocab", json::array({json::array({"a", -1.0})})}}, "a"), ElementsAre(0));
  EXPECT_THAT(Encode({{"vocab", {{"a", 1}, {"b", 2}, {"ab", 3}}}, {"merges", {"a b"}}}, "ab"),
              ElementsAre(3));
}

TEST(TokenModelTest, TwoTextsMayShareAnIdAndATokenMayBeEmpty) {
  const json model = {{"vocab", {{"a", 1}, {"b", 1}, {"", 2}}}, {"merges", json::array()}};
  EXPECT_THAT(Encode(model, "ab"), ElementsAre(1, 1));
  ASSERT_OK_AND_ASSIGN(const auto made, Make(model));
  EXPECT_EQ(*made->vocabulary().Text(2), "");
  EXPECT_EQ(made->vocabulary().Text(0), nullptr);
  EXPECT_EQ(made->token_count(), 3u);
}

TEST(TokenModelTest, BytesOvertakeAnUnknownTokenThatWaits) {
  json vocabulary = {{"?", 0}, {"a", 1}, {"<0xC3>", 2}, {"<0xA9>", 3}};
  const json model = {{"type", "BPE"},
                      {"unk_token", "?"},
                      {"byte_fallback", true},
                      {"vocab", vocabulary},
                      {"merges", json::array()}};
  EXPECT_THAT(Encode(model, "x\u00e9a"), ElementsAre(2, 3, 0, 1));
}

TEST(TokenModelTest, WordEndsAndMiddlesHaveTextsOfTheirOwn) {
  const json ends = {{"type", "BPE"},
                     {"end_of_word_suffix", "</w>"},
                     {"vocab", {{"a", 0}, {"b</w>", 1}, {"ab</w>", 2}, {"a</w>", 3}}},
                     {"merges", {"a b</w>"}}};
  EXPECT_THAT(Encode(ends, "aab"), ElementsAre(0, 2));
  EXPECT_THAT(Encode(ends, "a"), ElementsAre(3));
  const json middles = {{"type", "BPE"},
                        {"continuing_subword_prefix", "##"},
                        {"vocab", {{"a", 0}, {"##b", 1}, {"ab", 2}, {"##a", 3}}},
                        {"merges", {"a ##b"}}};
  EXPECT_THAT(Encode(middles, "aba"), ElementsAre(2, 3));
}

// Of all ways to cut: the greatest sum, by trying them.
double BestScore(const std::vector<std::pair<std::string, double>>& tokens, std::string_view text,
                 double unknown) {
  if (text.empty()) return 0;
  double best = unknown + BestScore(tokens, text.substr(1), unknown);
  for (const auto& [token, score] : tokens) {
    if (text.starts_with(token)) {
      best = std::max(best, score + BestScore(tokens, text.substr(token.size()), unknown));
    }
  }
  return best;
}

TEST(TokenModelTest, UnigramTakesTheBestSum) {
  std::mt19937 random(1);
  for (int round = 0; round < 200; ++round) {
    std::vector<std::pair<std::string, double>> tokens = {{"?", -3}};
    while (tokens.size() < 8) {
      std::string text;
      while (text.size() < 1 + random() % 3) text += static_cast<char>('a' + random() % 3);
      tokens.emplace_back(text, -1.0 * (random() % 16));
    }
    // A text that is there twice has its last score.
    std::map<std::string, double> last(tokens.begin(), tokens.end());
    double least = 0;
    for (const auto& [text, score] : tokens) last[text] = score, least = std::min(least, score);
    ASSERT_OK_AND_ASSIGN(const UnigramModel model, UnigramModel::Create(tokens, {.unknown_id = 0}));
    std::string text;
    while (text.size() < 9) text += static_cast<char>('a' + random() % 3);
    double sum = 0;
    std::string joined;
    bool unknown = false;
    for (const int32_t id : Encode(model, text)) {
      unknown = unknown || id == 0;
      joined += tokens[static_cast<size_t>(id)].first;
      sum += tokens[static_cast<size_t>(id)].second;
    }
    if (unknown) continue;
    EXPECT_EQ(joined, text);
    EXPECT_EQ(sum, BestScore({last.begin(), last.end()}, text, least - 10)) << text;
  }
}

TEST(TokenModelTest, UnigramFusesWhatItDoesNotKnow) {
  const std::vector<std::pair<std::string, double>> tokens = {
      {"?", 0}, {"a", -1}, {"<0x78>", -2}, {"<0x79>", -2}};
  ASSERT_OK_AND_ASSIGN(const UnigramModel fusing, UnigramModel::Create(tokens, {.unknown_id = 0}));
  EXPECT_THAT(Encode(fusing, "axya"), ElementsAre(1, 0, 1));
  ASSERT_OK_AND_ASSIGN(const UnigramModel bytes,
                       UnigramModel::Create(tokens, {.unknown_id = 0, .byte_fallback = true}));
  EXPECT_THAT(Encode(bytes, "axya"), ElementsAre(1, 2, 3, 1));
  EXPECT_THAT(Encode(bytes, "axz"), ElementsAre(1, 0));
  EXPECT_THAT(UnigramModel::Create(tokens, {.unknown_id = 4}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("unk_id is 4")));
}

TEST(TokenModelTest, ScoresDecideWhatIsMerged) {
  ASSERT_OK_AND_ASSIGN(Vocabulary vocabulary, Vocabulary::FromTexts({"?", "a", "b", "c", "ab", "bc",
                                                                     "abc", "<0xC3>", "aa"}));
  const ScoreMergeModel model(std::move(vocabulary), {0, 0, 0, 0, -2, -1, -3, 0, -4}, 0);
  EXPECT_THAT(Encode(model, "abc"), ElementsAre(6)) << "a and bc make abc";
  EXPECT_THAT(Encode(model, "abb"), ElementsAre(4, 2));
  EXPECT_THAT(Encode(model, "aaa"), ElementsAre(8, 1)) << "the leftmost";
  EXPECT_THAT(Encode(model, "a\u00e9"), ElementsAre(1, 7, 0)) << "one byte is there";
}

}  // namespace
}  // namespace shira
