#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "server/tokenizer/decoder.h"
#include "server/tokenizer/utf8.h"
#include "tests/testutil/status_matchers.h"

namespace shira {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;

json Sequence(const std::vector<json>& decoders) {
  return {{"type", "Sequence"}, {"decoders", decoders}};
}

json Replace(const std::string& from, const std::string& to) {
  return {{"type", "Replace"}, {"pattern", {{"String", from}}}, {"content", to}};
}

json Strip(int start, int stop) {
  return {{"type", "Strip"}, {"content", " "}, {"start", start}, {"stop", stop}};
}

const json kFuse = {{"type", "Fuse"}};
const json kByteFallback = {{"type", "ByteFallback"}};

json Llama() { return Sequence({Replace("\u2581", " "), kByteFallback, kFuse, Strip(1, 0)}); }

// As from a file, where numbers that are not negative are unsigned.
absl::StatusOr<Decoder> MakeDecoder(const json& root) {
  return Decoder::FromJson(json::parse(root.dump()), "decoder");
}

// What comes out after each token, and at the end.
std::vector<std::string> Parts(const json& root, const std::vector<std::string>& tokens) {
  const absl::StatusOr<Decoder> decoder = MakeDecoder(root);
  EXPECT_TRUE(decoder.ok()) << decoder.status();
  if (!decoder.ok()) return {};
  const std::unique_ptr<Decoding> decoding = decoder->Start();
  std::vector<std::string> parts;
  for (const std::string& token : tokens) parts.push_back(decoding->Append(token));
  parts.push_back(decoding->Finish());
  for (const std::string& part : parts) EXPECT_FALSE(FirstInvalidUtf8(part).has_value()) << part;
  return parts;
}

std::string Whole(const json& root, const std::vector<std::string>& tokens) {
  std::string text;
  for (const std::string& part : Parts(root, tokens)) text += part;
  return text;
}

TEST(DecoderTest, StripsTheFirstSpaceOfATextAlone) {
  EXPECT_THAT(Parts(Llama(), {"\u2581a", "\u2581b", "\u2581"}), ElementsAre("a", " b", " ", ""));
  EXPECT_THAT(Parts(Llama(), {"\u2581", "\u2581", "a"}), ElementsAre("", " ", "a", ""));
  EXPECT_EQ(Whole(Llama(), {"<s>", "\u2581a"}), "<s> a");
  EXPECT_EQ(Whole(Llama(), {}), "");
}

TEST(DecoderTest, ARunOfBytesIsTextAsAWholeOrNot) {
  EXPECT_THAT(Parts(Llama(), {"<0xE7>", "<0x8C>", "<0xAB>", "x"}),
              ElementsAre("", "", "", "\u732bx", ""));
  EXPECT_EQ(Whole(Llama(), {"<0xE7>", "<0x8C>", "<0xAB>", "<0xE7>"}), "\uFFFD\uFFFD\uFFFD\uFFFD");
  EXPECT_EQ(Whole(Llama(), {"<0x41>", "<0x4z>", "<0x42>"}), "A<0x4z>B");
}

TEST(DecoderTest, ReplacesAcrossTokensThatWereFused) {
  const json decoder = Sequence({kFuse, Replace("aa", "b")});
  EXPECT_THAT(Parts(decoder, {"a", "a", "xa", "aa", "a"}), ElementsAre("", "b", "x", "b", "b", ""));
  EXPECT_EQ(Whole(Replace("aa", "b"), {"a", "a", "aaa"}), "aaba");
  const json matches = {{"type", "Replace"}, {"pattern", {{"Regex", "a+"}}}, {"content", "b"}};
  EXPECT_EQ(Whole(Sequence({kFuse, matches}), {"a", "ax"}), "bx");
  EXPECT_EQ(Whole(matches, {"a", "ax"}), "bbx");
}

TEST(DecoderTest, StripsTheEndsOfTokensOrOfTheText) {
  EXPECT_EQ(Whole(Strip(1, 1), {"  a  ", " b", " "}), " a b");
  EXPECT_THAT(Parts(Sequence({kFuse, Strip(1, 2)}), {"  a ", "  ", "b ", " "}),
              ElementsAre(" a", " ", "  b", "", ""));
}

TEST(DecoderTest, MetaspaceDropsTheFirstTokensSpaces) {
  json metaspace = {{"type", "Metaspace"}, {"replacement", "_"}, {"prepend_scheme", "first"}};
  EXPECT_EQ(Whole(metaspace, {"_a_b", "_c"}), "ab c");
  metaspace["prepend_scheme"] = "never";
  EXPECT_EQ(Whole(metaspace, {"_a_b", "_c"}), " a b c");
}

TEST(DecoderTest, JoinsPartsOfWords) {
  const json word_piece = {{"type", "WordPiece"}, {"prefix", "##"}, {"cleanup", true}};
  EXPECT_EQ(Whole(word_piece, {"it", "'s", "un", "##used", "."}), "it's unused.");
  const json suffix = {{"type", "BPEDecoder"}, {"suffix", "</w>"}};
  EXPECT_THAT(Parts(suffix, {"a</w>", "b", "c</w>"}), ElementsAre("", "a ", "b", "c"));
  EXPECT_EQ(Whole(nullptr, {"a", "", "b"}), "a  b");
}

TEST(DecoderTest, ByteLevelTokensAreTextAsSoonAsTheyAreCharacters) {
  const json byte_level = {{"type", "ByteLevel"}};
  EXPECT_THAT(Parts(byte_level, {"\u0120\u00c3", "\u00a9!", "<\u4e00>", "\u00c3"}),
              ElementsAre(" ", "\u00e9!", "<\u4e00>", "", "\uFFFD"));
}

TEST(DecoderTest, GivesTheBytesOfATokenInTheMiddleOfAText) {
  ASSERT_OK_AND_ASSIGN(const Decoder llama, MakeDecoder(Llama()));
  EXPECT_EQ(llama.TokenBytes("\u2581a"), " a");
  EXPECT_EQ(llama.TokenBytes("<0xE7>"), "\xE7");
  ASSERT_OK_AND_ASSIGN(const Decoder words, MakeDecoder(nullptr));
  EXPECT_EQ(words.TokenBytes("a"), " a");
}

}  // namespace
}  // namespace shira
