#include "server/tokenizer/stream_decoder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "server/tokenizer/utf8.h"
#include "tests/server/tokenizer/small_tokenizer.h"
#include "tests/testutil/status_matchers.h"

namespace shira {
namespace {

using ::shira::testing::kHello;
using ::shira::testing::LoadJson;
using ::shira::testing::SmallTokenizerJson;
using ::shira::testing::StatusIs;
using ::testing::ElementsAre;

class StreamDecoderTest : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_OK_AND_ASSIGN(tokenizer_, LoadJson(SmallTokenizerJson())); }

  // Bytes are tokens of the small vocabulary.
  static std::vector<int32_t> Bytes(std::string_view text) {
    std::vector<int32_t> ids;
    for (const char c : text) ids.push_back(static_cast<unsigned char>(c));
    return ids;
  }

  // The chunks, Finish()'s last unless it stopped.
  std::vector<StreamDecoder::Chunk> Run(const std::vector<int32_t>& tokens,
                                        const StreamDecoder::Options& options) {
    StreamDecoder decoder(*tokenizer_, options);
    std::vector<StreamDecoder::Chunk> chunks;
    for (const int32_t token : tokens) {
      absl::StatusOr<StreamDecoder::Chunk> chunk = decoder.Append(token);
      EXPECT_TRUE(chunk.ok()) << chunk.status();
      chunks.push_back(*std::move(chunk));
      if (chunks.back().stopped) return chunks;
    }
    chunks.push_back(decoder.Finish());
    return chunks;
  }

  std::vector<std::string> Texts(const std::vector<int32_t>& tokens,
                                 const StreamDecoder::Options& options) {
    std::vector<std::string> texts;
    for (const StreamDecoder::Chunk& chunk : Run(tokens, options)) texts.push_back(chunk.text);
    return texts;
  }

  std::unique_ptr<Tokenizer> tokenizer_;
};

TEST_F(StreamDecoderTest, EmitsWholeCharacters) {
  EXPECT_THAT(Texts(Bytes("a\u00e9\U0001f600"), {}),
              ElementsAre("a", "", "\u00e9", "", "", "", "\U0001f600", ""));
}

TEST_F(StreamDecoderTest, AnUnfinishedCharacterBecomesAReplacement) {
  EXPECT_THAT(Texts(Bytes("a\xf0\x9f"), {}), ElementsAre("a", "", "", "\ufffd"));
  EXPECT_THAT(Texts(Bytes("\xf0\x9f"
                          "b"),
                    {}),
              ElementsAre("", "", "\ufffdb", ""));
}

TEST_F(StreamDecoderTest, SkipsSpecialTokensOnRequest) {
  EXPECT_THAT(Texts({'a', 261, 262}, {}), ElementsAre("a", "", "<user>", ""));
  EXPECT_THAT(Texts({'a', 261}, {.skip_special_tokens = false}), ElementsAre("a", "<eos>", ""));
}

TEST_F(StreamDecoderTest, HoldsBackWhatMayBeAStopString) {
  EXPECT_THAT(Texts(Bytes("xSTONE"), {.stop_strings = {"STOP"}}),
              ElementsAre("x", "", "", "", "STON", "E", ""));
  EXPECT_THAT(Texts(Bytes("xST"), {.stop_strings = {"STOP"}}), ElementsAre("x", "", "", "ST"));
}

TEST_F(StreamDecoderTest, CutsBeforeAStopStringInsideOfAToken) {
  const std::vector<StreamDecoder::Chunk> chunks =
      Run({'x', kHello, 'y'}, {.stop_strings = {"ll"}});
  ASSERT_EQ(chunks.size(), 2u);
  EXPECT_EQ(chunks[1].text, "he");
  EXPECT_TRUE(chunks[1].stopped);
  EXPECT_EQ(chunks[1].stop_string, "ll");
}

TEST_F(StreamDecoderTest, KeepsTheStopStringOnRequest) {
  EXPECT_THAT(Texts(Bytes("aEND"), {.stop_strings = {"END"}, .include_stop_string = true}),
              ElementsAre("a", "", "", "END"));
}

TEST_F(StreamDecoderTest, AnEarlierStopStringThatMayStillFollowIsWaitedFor) {
  const StreamDecoder::Options options{.stop_strings = {"abcd", "bc"}};
  EXPECT_THAT(Texts(Bytes("abcd"), options), ElementsAre("", "", "", ""));
  EXPECT_THAT(Texts(Bytes("abcx"), options), ElementsAre("", "", "", "a"));
  const std::vector<StreamDecoder::Chunk> chunks = Run(Bytes("abc"), options);
  EXPECT_EQ(chunks.back().text, "a");
  EXPECT_TRUE(chunks.back().stopped);
  EXPECT_EQ(chunks.back().stop_string, "bc");
}

TEST_F(StreamDecoderTest, RefusesAnUnknownIdAndGoesOn) {
  StreamDecoder decoder(*tokenizer_, {});
  EXPECT_THAT(decoder.Append(99999), StatusIs(absl::StatusCode::kOutOfRange));
  ASSERT_OK_AND_ASSIGN(const StreamDecoder::Chunk chunk, decoder.Append('a'));
  EXPECT_EQ(chunk.text, "a");
}

// The contract, on random tokens and stop strings over a small alphabet, so that stop strings
// occur, overlap and are nearly met.
TEST_F(StreamDecoderTest, ChunksMakeTheDecodedTextCutAtTheFirstStopString) {
  std::mt19937 random(11);
  const std::vector<std::vector<int32_t>> units = {
      {'a'}, {'b'}, Bytes("\u00e9"),     {0xC3}, {0xA9}, {0xF0}, {0x9F}, {kHello}, {256},
      {257}, {261}, Bytes("\U0001f600"), {0xE4}, {0xB8}};
  const std::vector<std::string> stop_parts = {"a", "b",  "ab",     "\u00e9",     "he",
                                               "l", "lo", "\ufffd", "\U0001f600", "<eos>"};
  int stopped_rounds = 0;
  for (int round = 0; round < 20'000; ++round) {
    std::vector<int32_t> tokens;
    for (int i = static_cast<int>(random() % 12); i >= 0; --i) {
      const std::vector<int32_t>& unit = units[random() % units.size()];
      tokens.insert(tokens.end(), unit.begin(), unit.end());
    }
    StreamDecoder::Options options;
    options.skip_special_tokens = random() % 2 == 0;
    options.include_stop_string = random() % 4 == 0;
    for (int i = static_cast<int>(random() % 4); i > 0; --i) {
      std::string stop;
      for (int part = static_cast<int>(random() % 3); part >= 0; --part)
        stop += stop_parts[random() % stop_parts.size()];
      options.stop_strings.push_back(stop);
    }

    ASSERT_OK_AND_ASSIGN(std::string expected,
                         tokenizer_->Decode(tokens, options.skip_special_tokens));
    size_t cut = std::string::npos;
    const std::string* first = nullptr;
    for (const std::string& stop : options.stop_strings) {
      const size_t place = expected.find(stop);
      if (place == std::string::npos) continue;
      if (first == nullptr || place < cut || (place == cut && stop.size() < first->size())) {
        cut = place;
        first = &stop;
      }
    }
    if (first != nullptr)
      expected = expected.substr(0, cut) + (options.include_stop_string ? *first : "");

    std::string found;
    const std::vector<StreamDecoder::Chunk> chunks = Run(tokens, options);
    for (const StreamDecoder::Chunk& chunk : chunks) {
      ASSERT_EQ(FirstInvalidUtf8(chunk.text), std::nullopt);
      found += chunk.text;
    }
    ASSERT_EQ(found, expected);
    ASSERT_EQ(chunks.back().stopped, first != nullptr);
    if (first != nullptr) {
      ASSERT_EQ(chunks.back().stop_string, *first);
      ++stopped_rounds;
    }
  }
  EXPECT_GT(stopped_rounds, 2000) << "the stop strings are too rare to test anything";
}

}  // namespace
}  // namespace shira
