#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/mapped_file.h"
#include "server/tokenizer/tokenizer.h"
#include "tests/server/tokenizer/small_tokenizer.h"
#include "tests/testutil/status_matchers.h"

namespace shira {
namespace {

using ::shira::testing::IsOkAndHolds;
using ::shira::testing::kHello;
using ::shira::testing::LoadGguf;
using ::shira::testing::Metadata;
using ::shira::testing::NamedTokenText;
using ::shira::testing::SmallGguf;
using ::shira::testing::StatusIs;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr absl::StatusCode kInvalid = absl::StatusCode::kInvalidArgument;
constexpr absl::StatusCode kUnknown = absl::StatusCode::kUnimplemented;

// Adds a token; returns its id.
int32_t AddToken(Metadata& metadata, const std::string& text, int32_t type) {
  auto& tokens = std::get<std::vector<std::string>>(metadata["tokenizer.ggml.tokens"]);
  tokens.push_back(text);
  std::get<std::vector<int32_t>>(metadata["tokenizer.ggml.token_type"]).push_back(type);
  return static_cast<int32_t>(tokens.size()) - 1;
}

TEST(GgufTokenizerTest, EncodesAndDecodes) {
  ASSERT_OK_AND_ASSIGN(const auto tokenizer, LoadGguf(SmallGguf()));
  EXPECT_THAT(tokenizer->Encode("hello w12<eos>", {}),
              IsOkAndHolds(ElementsAre(kHello, 260, '1', '2', 261)));
  EXPECT_THAT(tokenizer->Decode({kHello, 261, 262}, true), IsOkAndHolds("hello<user>"));
  EXPECT_EQ(NamedTokenText(*tokenizer, "eos_token"), "<eos>");
  EXPECT_EQ(NamedTokenText(*tokenizer, "bos_token"), "(none)");
}

TEST(GgufTokenizerTest, NamesTheTokensThatTemplatesKnow) {
  Metadata metadata = SmallGguf();
  metadata["tokenizer.ggml.unknown_token_id"] = uint32_t{262};
  metadata["tokenizer.ggml.seperator_token_id"] = uint32_t{256};
  metadata["tokenizer.ggml.padding_token_id"] = uint32_t{261};
  ASSERT_OK_AND_ASSIGN(const auto tokenizer, LoadGguf(metadata));
  EXPECT_EQ(NamedTokenText(*tokenizer, "unk_token"), "<user>");
  EXPECT_EQ(NamedTokenText(*tokenizer, "sep_token"), "he");
  EXPECT_EQ(NamedTokenText(*tokenizer, "pad_token"), "<eos>");
  EXPECT_EQ(NamedTokenText(*tokenizer, "mask_token"), "(none)");
}

TEST(GgufTokenizerTest, OnlyControlAndUnknownTokensAreSpecial) {
  Metadata metadata = SmallGguf();
  const int32_t unknown = AddToken(metadata, "<unk>", 2);
  const int32_t unused = AddToken(metadata, "<unused>", 5);
  const int32_t byte = AddToken(metadata, "<0x41>", 6);
  const int32_t empty = AddToken(metadata, "", 1);
  ASSERT_OK_AND_ASSIGN(const auto tokenizer, LoadGguf(metadata));
  EXPECT_TRUE(tokenizer->IsSpecial(261));
  EXPECT_FALSE(tokenizer->IsSpecial(262));
  EXPECT_TRUE(tokenizer->IsSpecial(unknown));
  EXPECT_FALSE(tokenizer->IsSpecial(unused));
  EXPECT_THAT(tokenizer->TokenBytes(unused, false), IsOkAndHolds(""));
  EXPECT_THAT(tokenizer->TokenBytes(byte, false), IsOkAndHolds("A"));
  EXPECT_EQ(tokenizer->TokenId("[EMPTY_" + std::to_string(empty) + "]"), empty);
  EXPECT_THAT(tokenizer->Encode("<eos><user>", {.parse_special_tokens = false}),
              IsOkAndHolds(ElementsAre('<', 'e', 'o', 's', '>', 262)));
}

// As in tokenizer.json of the same model; llama.cpp takes the longer one wherever it is.
TEST(GgufTokenizerTest, OfOverlappingTokensTheOneFurtherLeftWinsThenTheLonger) {
  Metadata metadata = SmallGguf();
  AddToken(metadata, "ab", 4);
  const int32_t left = AddToken(metadata, "abc", 4);
  AddToken(metadata, "bcde", 4);
  ASSERT_OK_AND_ASSIGN(const auto tokenizer, LoadGguf(metadata));
  EXPECT_THAT(tokenizer->Encode("abcde", {}), IsOkAndHolds(ElementsAre(left, 'd', 'e')));
}

TEST(GgufTokenizerTest, GenerationsEndAtGivenIdsAndWellKnownTexts) {
  Metadata metadata = SmallGguf();
  const int32_t message = AddToken(metadata, "<|eom|>", 3);
  const int32_t turn = AddToken(metadata, "<end_of_turn>", 1);
  const int32_t repository = AddToken(metadata, "<reponame>", 3);
  AddToken(metadata, "<|im_start|>", 3);
  metadata["tokenizer.ggml.eom_token_id"] = static_cast<uint32_t>(message);
  metadata["tokenizer.ggml.eot_token_id"] = uint32_t{262};
  ASSERT_OK_AND_ASSIGN(const auto tokenizer, LoadGguf(metadata));
  EXPECT_THAT(tokenizer->end_of_generation_ids(), ElementsAre(261, 262, message, turn, repository));
  EXPECT_TRUE(tokenizer->IsSpecial(turn)) << "its type was a mistake of the converter";
}

TEST(GgufTokenizerTest, TokensThatOnlySeparateDoNotEndGenerations) {
  Metadata metadata = SmallGguf();
  const int32_t end = AddToken(metadata, "<|end|>", 3);
  const int32_t call = AddToken(metadata, "<|call|>", 3);
  const int32_t back = AddToken(metadata, "<|return|>", 3);
  const int32_t strike = AddToken(metadata, "</s>", 3);
  const int32_t tool = AddToken(metadata, "<|tool_response>", 3);
  ASSERT_OK_AND_ASSIGN(const auto tokenizer, LoadGguf(metadata));
  EXPECT_THAT(tokenizer->end_of_generation_ids(), ElementsAre(261, call, back, tool));
  EXPECT_FALSE(tokenizer->IsSpecial(end));
  EXPECT_FALSE(tokenizer->IsSpecial(strike));
}

TEST(GgufTokenizerTest, AddsBosAndEosAsTheMetadataSay) {
  Metadata metadata = SmallGguf();
  metadata["tokenizer.ggml.bos_token_id"] = uint32_t{262};
  metadata["tokenizer.ggml.add_bos_token"] = true;
  metadata["tokenizer.ggml.add_eos_token"] = true;
  ASSERT_OK_AND_ASSIGN(const auto tokenizer, LoadGguf(metadata));
  EXPECT_THAT(tokenizer->Encode("a", {}), IsOkAndHolds(ElementsAre(262, 'a', 261)));
  EXPECT_THAT(tokenizer->Encode("a", {.add_special_tokens = false}),
              IsOkAndHolds(ElementsAre('a')));
  EXPECT_EQ(NamedTokenText(*tokenizer, "bos_token"), "<user>");
}

TEST(GgufTokenizerTest, AnIdOfAllOnesIsNone) {
  Metadata metadata = SmallGguf();
  metadata["tokenizer.ggml.bos_token_id"] = UINT32_MAX;
  metadata["tokenizer.ggml.eom_token_id"] = UINT32_MAX;
  ASSERT_OK_AND_ASSIGN(const auto tokenizer, LoadGguf(metadata));
  EXPECT_EQ(NamedTokenText(*tokenizer, "bos_token"), "(none)");
  EXPECT_THAT(tokenizer->end_of_generation_ids(), ElementsAre(261));
}

TEST(GgufTokenizerTest, SomeRulesAddBosByDefault) {
  Metadata metadata = SmallGguf();
  metadata["tokenizer.ggml.pre"] = "llama-bpe";
  EXPECT_THAT(LoadGguf(metadata),
              StatusIs(kInvalid, HasSubstr("there is no tokenizer.ggml.bos_token_id")));
  metadata["tokenizer.ggml.bos_token_id"] = uint32_t{262};
  ASSERT_OK_AND_ASSIGN(const auto tokenizer, LoadGguf(metadata));
  EXPECT_THAT(tokenizer->Encode("a", {}), IsOkAndHolds(ElementsAre(262, 'a')));
}

// SentencePiece's tokens as GGUF has them.
Metadata LlamaGguf() {
  return {{"tokenizer.ggml.model", "llama"},
          {"tokenizer.ggml.tokens",
           std::vector<std::string>{"<unk>", "<s>", "</s>", "<0xC3>", "<0xA9>", "\u2581", "a", "b",
                                    "ab", "\u2581ab", "<user>", "<|unused|>"}},
          {"tokenizer.ggml.token_type", std::vector<int32_t>{2, 3, 3, 6, 6, 1, 1, 1, 1, 1, 4, 5}}};
}

TEST(GgufTokenizerTest, ReadsVocabulariesOfSentencePiece) {
  ASSERT_OK_AND_ASSIGN(const auto tokenizer, LoadGguf(LlamaGguf()));
  EXPECT_THAT(tokenizer->Encode("ab <user>ab\u00e9", {}),
              IsOkAndHolds(ElementsAre(1, 9, 5, 10, 9, 3, 4)));
  EXPECT_THAT(tokenizer->Decode({1, 9, 5, 10, 9, 3, 4, 11}, true),
              IsOkAndHolds("ab <user> ab\u00e9"));
  EXPECT_THAT(tokenizer->TokenBytes(9, false), IsOkAndHolds(" ab"));
  EXPECT_THAT(tokenizer->TokenBytes(3, false), IsOkAndHolds("\xC3"));
  EXPECT_THAT(tokenizer->end_of_generation_ids(), ElementsAre(2)) << "without metadata";

  Metadata metadata = LlamaGguf();
  metadata["tokenizer.ggml.add_space_prefix"] = false;
  metadata["tokenizer.ggml.add_bos_token"] = false;
  metadata["tokenizer.ggml.add_eos_token"] = true;
  ASSERT_OK_AND_ASSIGN(const auto plain, LoadGguf(metadata));
  EXPECT_THAT(plain->Encode("ab", {}), IsOkAndHolds(ElementsAre(8, 2)));
  EXPECT_THAT(plain->Decode({9}, true), IsOkAndHolds(" ab"));
}

TEST(GgufTokenizerTest, ReadsVocabulariesOfGemma4) {
  Metadata metadata = LlamaGguf();
  metadata["tokenizer.ggml.model"] = "gemma4";
  auto tokens = std::get<std::vector<std::string>>(metadata["tokenizer.ggml.tokens"]);
  tokens[11] = "\n\n";
  metadata["tokenizer.ggml.tokens"] = tokens;
  metadata["tokenizer.ggml.merges"] = std::vector<std::string>{"a b", "\u2581 ab"};
  metadata["tokenizer.ggml.bos_token_id"] = 1u;
  metadata["tokenizer.ggml.add_bos_token"] = false;  // which llama.cpp does not believe
  ASSERT_OK_AND_ASSIGN(const auto tokenizer, LoadGguf(metadata));
  EXPECT_THAT(tokenizer->Encode("ab ab\n\n\u00e9", {}),
              IsOkAndHolds(ElementsAre(1, 8, 9, 11, 3, 4)));
}

TEST(GgufTokenizerTest, RefusesScoresThatAreNotOneForEachToken) {
  Metadata metadata = LlamaGguf();
  metadata["tokenizer.ggml.scores"] = std::vector<int32_t>{1, 2};
  EXPECT_THAT(LoadGguf(metadata), StatusIs(absl::StatusCode::kInvalidArgument,
                                           HasSubstr("tokenizer.ggml.scores is no array of 12")));
}

TEST(GgufTokenizerTest, RefusesWhatItDoesNotKnow) {
  Metadata metadata = SmallGguf();
  metadata["tokenizer.ggml.model"] = "t5";
  EXPECT_THAT(LoadGguf(metadata), StatusIs(kUnknown, HasSubstr("tokenizer.ggml.model is 't5'")));
  metadata = SmallGguf();
  metadata["tokenizer.ggml.pre"] = "kimi-k2";
  EXPECT_THAT(LoadGguf(metadata), StatusIs(kUnknown, HasSubstr("tokenizer.ggml.pre is 'kimi-k2'")));
}

TEST(GgufTokenizerTest, RefusesMalformedMetadata) {
  const auto changed = [](const std::string& key, const ::shira::testing::MetadataValue& value) {
    Metadata metadata = SmallGguf();
    metadata[key] = value;
    return LoadGguf(metadata);
  };
  EXPECT_THAT(changed("tokenizer.ggml.tokens", "text"),
              StatusIs(kInvalid, HasSubstr("tokens is no array of strings")));
  EXPECT_THAT(changed("tokenizer.ggml.tokens", std::vector<std::string>{"a", "\xff"}),
              StatusIs(kInvalid, HasSubstr("tokens[1] is not valid UTF-8")));
  EXPECT_THAT(changed("tokenizer.ggml.tokens", std::vector<std::string>{"a", "a"}),
              StatusIs(kInvalid, HasSubstr("outside of the vocabulary")));
  EXPECT_THAT(changed("tokenizer.ggml.merges", std::vector<std::string>{"ab"}),
              StatusIs(kInvalid, HasSubstr("merges[0] is 'ab'")));
  EXPECT_THAT(changed("tokenizer.ggml.merges", std::vector<std::string>{"z z"}),
              StatusIs(kInvalid, HasSubstr("'zz' is not in the vocabulary")));
  EXPECT_THAT(changed("tokenizer.ggml.token_type", std::vector<int32_t>{1, 1}),
              StatusIs(kInvalid, HasSubstr("token_type")));
  EXPECT_THAT(changed("tokenizer.ggml.eos_token_id", uint32_t{9999}),
              StatusIs(kInvalid, HasSubstr("eos_token_id is 9999")));
  EXPECT_THAT(changed("tokenizer.ggml.add_bos_token", uint32_t{1}),
              StatusIs(kInvalid, HasSubstr("add_bos_token is no boolean")));
  EXPECT_THAT(changed("tokenizer.ggml.add_bos_token", true),
              StatusIs(kInvalid, HasSubstr("bos_token_id")));
  Metadata metadata = SmallGguf();
  AddToken(metadata, "<0xZZ>", 6);
  EXPECT_THAT(LoadGguf(metadata), StatusIs(kInvalid, HasSubstr("'<0xZZ>'")));
  metadata = SmallGguf();
  AddToken(metadata, "hello", 1);
  EXPECT_THAT(LoadGguf(metadata),
              StatusIs(kInvalid, HasSubstr("small.gguf: token 'hello' has two ids")));
  for (const char* key : {"tokenizer.ggml.tokens", "tokenizer.ggml.merges"}) {
    metadata = SmallGguf();
    metadata.erase(key);
    EXPECT_THAT(LoadGguf(metadata), StatusIs(kInvalid, HasSubstr(key)));
  }
  metadata = SmallGguf();
  metadata.erase("tokenizer.ggml.model");
  EXPECT_THAT(LoadGguf(metadata),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("tokenizer.ggml.model")));
}

TEST(GgufTokenizerTest, ReadsTheDemoModel) {
  const std::string path = std::string(SHIRA_DEPS_DIR) + "/models/smollm2-135m-instruct-q4_1.gguf";
  ASSERT_OK_AND_ASSIGN(const MappedFile file, MappedFile::Open(path));
  ASSERT_OK_AND_ASSIGN(const GgufFile gguf, GgufFile::Parse(file.bytes(), path));
  ASSERT_OK_AND_ASSIGN(const auto tokenizer, Tokenizer::FromGguf(gguf));
  EXPECT_EQ(tokenizer->vocab_size(), 49152);
  EXPECT_EQ(NamedTokenText(*tokenizer, "bos_token"), "<|im_start|>");
  EXPECT_EQ(NamedTokenText(*tokenizer, "eos_token"), "<|im_end|>");
  EXPECT_THAT(tokenizer->end_of_generation_ids(), ElementsAre(0, 2, 4));  // llama.cpp's
  EXPECT_THAT(tokenizer->Encode("Hello 123 <|im_end|>", {}),
              IsOkAndHolds(ElementsAre(19556, 216, 33, 34, 35, 216, 2)));
}

}  // namespace
}  // namespace shira
