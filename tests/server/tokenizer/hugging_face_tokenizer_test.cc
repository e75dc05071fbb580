#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <ostream>
#include <string>
#include <vector>

#include "server/tokenizer/tokenizer.h"
#include "tests/server/tokenizer/small_tokenizer.h"
#include "tests/testutil/status_matchers.h"

namespace shira {
namespace {

using nlohmann::json;
using ::shira::testing::AddedTokenJson;
using ::shira::testing::IsOk;
using ::shira::testing::IsOkAndHolds;
using ::shira::testing::kHello;
using ::shira::testing::LoadJson;
using ::shira::testing::NamedTokenText;
using ::shira::testing::SmallTokenizerJson;
using ::shira::testing::StatusIs;
using ::shira::testing::TempFolder;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(HuggingFaceTokenizerTest, EncodesAndDecodes) {
  ASSERT_OK_AND_ASSIGN(const auto tokenizer, LoadJson(SmallTokenizerJson()));
  EXPECT_THAT(tokenizer->Encode("hello w<eos>", {}), IsOkAndHolds(ElementsAre(kHello, 260, 261)));
  EXPECT_THAT(tokenizer->Decode({kHello, 260, 261}, false), IsOkAndHolds("hello w<eos>"));
  EXPECT_THAT(tokenizer->Decode({kHello, 260, 261}, true), IsOkAndHolds("hello w"));
  EXPECT_THAT(tokenizer->Encode("", {}), IsOkAndHolds(ElementsAre()));
  EXPECT_EQ(tokenizer->vocab_size(), 263);
}

TEST(HuggingFaceTokenizerTest, SpecialTokensAreTextWhereTheyAreNotParsed) {
  ASSERT_OK_AND_ASSIGN(const auto tokenizer, LoadJson(SmallTokenizerJson()));
  const EncodeOptions plain{.parse_special_tokens = false};
  EXPECT_THAT(tokenizer->Encode("<eos>", plain),
              IsOkAndHolds(ElementsAre('<', 'e', 'o', 's', '>')));
  EXPECT_THAT(tokenizer->Encode("<user>", plain), IsOkAndHolds(ElementsAre(262)));
}

TEST(HuggingFaceTokenizerTest, GivesTheBytesOfATokenEvenHalfACharacter) {
  ASSERT_OK_AND_ASSIGN(const auto tokenizer, LoadJson(SmallTokenizerJson()));
  EXPECT_THAT(tokenizer->TokenBytes(0xC3, false), IsOkAndHolds("\xC3"));
  EXPECT_THAT(tokenizer->TokenBytes(260, false), IsOkAndHolds(" w"));
  EXPECT_THAT(tokenizer->TokenBytes(261, false), IsOkAndHolds("<eos>"));
  EXPECT_THAT(tokenizer->TokenBytes(261, true), IsOkAndHolds(""));
  EXPECT_THAT(tokenizer->TokenBytes(262, true), IsOkAndHolds("<user>"));
  EXPECT_THAT(tokenizer->Decode({0xC3, 0xA9, 0xC3}, false), IsOkAndHolds("\u00e9\ufffd"));
}

TEST(HuggingFaceTokenizerTest, KnowsItsSpecialTokens) {
  ASSERT_OK_AND_ASSIGN(
      const auto tokenizer,
      LoadJson(SmallTokenizerJson(), R"({"bos_token": null, "eos_token": {"content": "<eos>"}})"));
  EXPECT_TRUE(tokenizer->IsSpecial(261));
  EXPECT_FALSE(tokenizer->IsSpecial(262));
  EXPECT_FALSE(tokenizer->IsSpecial(0));
  EXPECT_FALSE(tokenizer->IsSpecial(-1));
  EXPECT_FALSE(tokenizer->IsSpecial(263));
  EXPECT_EQ(tokenizer->TokenId("<eos>"), 261);
  EXPECT_EQ(tokenizer->TokenId("hello"), kHello);
  EXPECT_EQ(tokenizer->TokenId("nothing"), std::nullopt);
  EXPECT_EQ(NamedTokenText(*tokenizer, "bos_token"), "(none)");
  EXPECT_EQ(NamedTokenText(*tokenizer, "eos_token"), "<eos>");
  EXPECT_THAT(tokenizer->end_of_generation_ids(), ElementsAre(261));
}

TEST(HuggingFaceTokenizerTest, AnIdWithoutATokenDecodesToNothing) {
  json root = SmallTokenizerJson();
  root["model"]["vocab"]["\u0120w"] = 270;
  ASSERT_OK_AND_ASSIGN(const auto tokenizer, LoadJson(root));
  EXPECT_EQ(tokenizer->vocab_size(), 271);
  EXPECT_THAT(tokenizer->Decode({265, 270}, false), IsOkAndHolds(" w"));
}

// The library that writes these files does not read the ids.
TEST(HuggingFaceTokenizerTest, AddedTokensKeepTheModelsIdOrGetTheNextFreeOne) {
  json root = SmallTokenizerJson();
  root["added_tokens"] = {AddedTokenJson(900, "<late>"), AddedTokenJson(7, "hello"),
                          AddedTokenJson(7, ""), AddedTokenJson(7, "<last>", false)};
  ASSERT_OK_AND_ASSIGN(const auto tokenizer, LoadJson(root));
  EXPECT_THAT(tokenizer->Encode("<last>hello<late>", {}),
              IsOkAndHolds(ElementsAre(262, kHello, 261)));
  EXPECT_THAT(tokenizer->Decode({262, kHello, 261}, true), IsOkAndHolds("<last>"));
}

TEST(HuggingFaceTokenizerTest, TokensOfTheConfigurationAreAddedWithTheirFlags) {
  const TempFolder folder;
  folder.Write("tokenizer.json", SmallTokenizerJson().dump());
  folder.Write("tokenizer_config.json", R"({"added_tokens_decoder": {
      "300": {"content": "<tool>"}, "262": {"content": "<user>", "special": true, "lstrip": true}},
      "pad_token": "<pad>", "image_token": "<image>", "additional_special_tokens": ["<more>"],
      "model_max_length": 1e30, "scale": Infinity})");
  folder.Write("special_tokens_map.json", R"({"pad_token": "<not read>"})");
  ASSERT_OK_AND_ASSIGN(const auto tokenizer, Tokenizer::FromHuggingFace(folder.path()));
  EXPECT_THAT(tokenizer->Encode("a <user><tool><pad><image><more>", {}),
              IsOkAndHolds(ElementsAre('a', 262, 263, 264, 265, 266)));
  EXPECT_THAT(tokenizer->Decode({262, 263, 264, 265, 266}, true), IsOkAndHolds("<tool>"));
  EXPECT_EQ(NamedTokenText(*tokenizer, "image_token"), "<image>");
}

TEST(HuggingFaceTokenizerTest, OlderFilesCountWhereTheConfigurationListsNoTokens) {
  const TempFolder folder;
  folder.Write("tokenizer.json", SmallTokenizerJson().dump());
  folder.Write("special_tokens_map.json", R"({"eos_token": {"content": "<user>", "lstrip": false,
      "normalized": true, "rstrip": false, "single_word": false}, "bos_token": "<new>"})");
  folder.Write("added_tokens.json", R"({"<more>": 300, "<new>": 299})");
  ASSERT_OK_AND_ASSIGN(const auto tokenizer, Tokenizer::FromHuggingFace(folder.path()));
  EXPECT_THAT(tokenizer->Encode("<user><new><more>", {}), IsOkAndHolds(ElementsAre(262, 263, 264)));
  EXPECT_THAT(tokenizer->Decode({262, 263, 264}, true), IsOkAndHolds("<more>"));
  EXPECT_THAT(tokenizer->end_of_generation_ids(), ElementsAre(262));
}

// GPT-2's own file has no type of model and names the empty text as unknown.
TEST(HuggingFaceTokenizerTest, TakesWhatOlderFilesLeaveOut) {
  json root = SmallTokenizerJson();
  root["model"].erase("type");
  root["model"]["unk_token"] = "";
  root["model"]["continuing_subword_prefix"] = "";
  root["model"]["fuse_unk"] = nullptr;
  root["model"]["byte_fallback"] = nullptr;
  root["model"]["merges"].insert(root["model"]["merges"].begin(), "#version: 0.2");
  root.erase("added_tokens");
  ASSERT_OK_AND_ASSIGN(const auto tokenizer, LoadJson(root));
  EXPECT_THAT(tokenizer->Encode("hello w", {}), IsOkAndHolds(ElementsAre(kHello, 260)));
}

TEST(HuggingFaceTokenizerTest, SplitSpecialTokensMakesThemText) {
  ASSERT_OK_AND_ASSIGN(const auto tokenizer,
                       LoadJson(SmallTokenizerJson(), R"({"split_special_tokens": true})"));
  EXPECT_THAT(tokenizer->Encode("<eos>", {}), IsOkAndHolds(ElementsAre('<', 'e', 'o', 's', '>')));
}

TEST(HuggingFaceTokenizerTest, RefusesIdsOutsideOfTheVocabulary) {
  ASSERT_OK_AND_ASSIGN(const auto tokenizer, LoadJson(SmallTokenizerJson()));
  EXPECT_THAT(tokenizer->TokenBytes(263, false),
              StatusIs(absl::StatusCode::kOutOfRange, HasSubstr("263")));
  EXPECT_THAT(tokenizer->Decode({1, -1}, true),
              StatusIs(absl::StatusCode::kOutOfRange, HasSubstr("-1")));
}

TEST(HuggingFaceTokenizerTest, RefusesTextThatIsNotUtf8) {
  ASSERT_OK_AND_ASSIGN(const auto tokenizer, LoadJson(SmallTokenizerJson()));
  EXPECT_THAT(tokenizer->Encode("abc\xff", {}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("byte 3 of 4")));
}

TEST(HuggingFaceTokenizerTest, RefusesATextOfManyMegabytes) {
  ASSERT_OK_AND_ASSIGN(const auto tokenizer, LoadJson(SmallTokenizerJson()));
  EXPECT_THAT(tokenizer->Encode(std::string((64 << 20) + 1, 'a'), {}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("67108865 bytes")));
}

TEST(HuggingFaceTokenizerTest, RefusesAMissingFile) {
  const TempFolder folder;
  EXPECT_THAT(Tokenizer::FromHuggingFace(folder.path()),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("tokenizer.json")));
}

struct Refusal {
  const char* name;
  std::function<void(json&)> change;
  absl::StatusCode code;
  const char* message;
};

// Names the test; the object's bytes would differ from run to run.
void PrintTo(const Refusal& refusal, std::ostream* out) { *out << refusal.name; }

class RefusalTest : public ::testing::TestWithParam<Refusal> {};

TEST_P(RefusalTest, NamesThePlace) {
  json root = SmallTokenizerJson();
  GetParam().change(root);
  EXPECT_THAT(LoadJson(root), StatusIs(GetParam().code, HasSubstr(GetParam().message)));
}

constexpr absl::StatusCode kInvalid = absl::StatusCode::kInvalidArgument;
constexpr absl::StatusCode kUnknown = absl::StatusCode::kUnimplemented;

json NestedSequences(int depth) {
  json result = {{"type", "ByteLevel"}, {"add_prefix_space", false}};
  for (int i = 0; i < depth; ++i) result = {{"type", "Sequence"}, {"pretokenizers", {result}}};
  return result;
}

const Refusal kRefusals[] = {
    {"NoModel", [](json& r) { r.erase("model"); }, kInvalid, "no member 'model'"},
    {"ModelType", [](json& r) { r["model"]["type"] = "Lattice"; }, kUnknown,
     "model is of type 'Lattice'"},
    {"Dropout", [](json& r) { r["model"]["dropout"] = 0.1; }, kUnknown, "dropout"},
    {"SubwordPrefix", [](json& r) { r["model"]["continuing_subword_prefix"] = "##"; }, kInvalid,
     "'e' is shorter than the prefix '##'"},
    {"WordSuffix", [](json& r) { r["model"]["end_of_word_suffix"] = 1; }, kInvalid,
     "model.end_of_word_suffix"},
    {"VocabularyIsNoObject",
     [](json& r) {
       r["model"]["vocab"] = {1, 2};
     },
     kInvalid, "model.vocab"},
    {"NegativeId", [](json& r) { r["model"]["vocab"]["hello"] = -1; }, kInvalid,
     "vocab['hello'] is -1"},
    {"FractionalId", [](json& r) { r["model"]["vocab"]["hello"] = 1.5; }, kInvalid,
     "vocab['hello'] is 1.5"},
    {"HugeId", [](json& r) { r["model"]["vocab"]["hello"] = 4294967295u; }, kInvalid, "4294967295"},
    {"MergesAreNoArray", [](json& r) { r["model"]["merges"] = "a b"; }, kInvalid, "model.merges"},
    {"MergeOfThree", [](json& r) { r["model"]["merges"].push_back("a b c"); }, kInvalid,
     "model.merges[5] is \"a b c\""},
    {"MergeIsNumber", [](json& r) { r["model"]["merges"].push_back(7); }, kInvalid,
     "model.merges[5] is 7"},
    {"MergeOfUnknown",
     [](json& r) {
       r["model"]["merges"].push_back({"he", "zzz"});
     },
     kInvalid, "'zzz' is not in"},
    {"MergeIntoUnknown", [](json& r) { r["model"]["merges"].push_back("z z"); }, kInvalid,
     "'zz' is not in"},
    {"Normalizer",
     [](json& r) {
       r["normalizer"] = {{"type", "BertNormalizer"}};
     },
     kInvalid, "normalizer has no member 'clean_text'"},
    {"NormalizerIsText", [](json& r) { r["normalizer"] = "NFC"; }, kInvalid,
     "normalizer is of type string"},
    {"NormalizerInSequence",
     [](json& r) {
       r["normalizer"] = {{"type", "Sequence"},
                          {"normalizers", {{{"type", "NFC"}}, {{"type", "Nfc"}}}}};
     },
     kUnknown, "normalizer.normalizers[1] is of type 'Nfc'"},
    {"PrecompiledTable",
     [](json& r) {
       r["normalizer"] = {{"type", "Precompiled"}, {"precompiled_charsmap", "AAAAAAA="}};
     },
     kInvalid, "normalizer.precompiled_charsmap"},
    {"PreTokenizer",
     [](json& r) {
       r["pre_tokenizer"] = {{"type", "UnicodeScripts"}};
     },
     kUnknown, "pre_tokenizer is of type 'UnicodeScripts'"},
    {"MetaspaceScheme",
     [](json& r) {
       r["pre_tokenizer"] = {
           {"type", "Metaspace"}, {"replacement", "_"}, {"prepend_scheme", "last"}};
     },
     kInvalid, "pre_tokenizer.prepend_scheme is 'last'"},
    {"MetaspaceReplacement",
     [](json& r) {
       r["pre_tokenizer"] = {{"type", "Metaspace"}, {"replacement", "__"}};
     },
     kInvalid, "pre_tokenizer.replacement is '__', expected one character"},
    {"Nesting", [](json& r) { r["pre_tokenizer"] = NestedSequences(20); }, kInvalid,
     "nested more than 16 deep"},
    {"BadRegex",
     [](json& r) {
       r["pre_tokenizer"] = {{"type", "Split"},
                             {"pattern", {{"Regex", "a("}}},
                             {"behavior", "Isolated"},
                             {"invert", false}};
     },
     kInvalid, "pre_tokenizer.pattern: regular expression 'a('"},
    {"UnknownRegex",
     [](json& r) {
       r["pre_tokenizer"] = {{"type", "Split"},
                             {"pattern", {{"Regex", "(a)\\1"}}},
                             {"behavior", "Isolated"},
                             {"invert", false}};
     },
     kUnknown, "pre_tokenizer.pattern"},
    {"NoPattern",
     [](json& r) {
       r["pre_tokenizer"] = {{"type", "Split"},
                             {"pattern", {{"Glob", "*"}}},
                             {"behavior", "Isolated"},
                             {"invert", false}};
     },
     kInvalid, "pre_tokenizer.pattern"},
    {"EmptyPattern",
     [](json& r) {
       r["pre_tokenizer"] = {{"type", "Split"},
                             {"pattern", {{"String", ""}}},
                             {"behavior", "Isolated"},
                             {"invert", false}};
     },
     kInvalid, "pre_tokenizer.pattern is empty"},
    {"Behavior",
     [](json& r) {
       r["pre_tokenizer"] = {{"type", "Split"},
                             {"pattern", {{"String", "x"}}},
                             {"behavior", "Sideways"},
                             {"invert", false}};
     },
     kInvalid, "pre_tokenizer.behavior is 'Sideways'"},
    {"PostProcessor",
     [](json& r) {
       r["post_processor"] = {{"type", "BertProcessing"}};
     },
     kUnknown, "post_processor is of type 'BertProcessing'"},
    {"PostProcessorWithoutTokens",
     [](json& r) {
       r["post_processor"] = {{"cls", {"x", 1}}, {"sep", "y"}};
     },
     kInvalid, "post_processor.sep"},
    {"TemplateWithoutToken",
     [](json& r) {
       r["post_processor"] = {{"type", "TemplateProcessing"},
                              {"single", {{{"SpecialToken", {{"id", "<bos>"}, {"type_id", 0}}}}}},
                              {"special_tokens", json::object()}};
     },
     kInvalid, "no member '<bos>'"},
    {"TemplateWithoutText",
     [](json& r) {
       r["post_processor"] = {{"type", "TemplateProcessing"},
                              {"single", json::array()},
                              {"special_tokens", json::object()}};
     },
     kUnknown, "holds its text 0 times"},
    {"TemplateOutOfRange",
     [](json& r) {
       r["post_processor"] = {
           {"type", "TemplateProcessing"},
           {"single",
            {{{"SpecialToken", {{"id", "x"}, {"type_id", 0}}}},
             {{"Sequence", {{"id", "A"}, {"type_id", 0}}}}}},
           {"special_tokens", {{"x", {{"id", "x"}, {"ids", {999}}, {"tokens", {"x"}}}}}}};
     },
     kInvalid, "post_processor adds the token 999"},
    {"Decoder",
     [](json& r) {
       r["decoder"] = {{"type", "CTC"}};
     },
     kUnknown, "decoder is of type 'CTC'"},
    {"DecoderSequence",
     [](json& r) {
       r["decoder"] = {{"type", "Sequence"},
                       {"decoders", {{{"type", "Replace"}}, {{"type", "ByteLevel"}}}}};
     },
     kInvalid, "decoder.decoders[0] has no member 'content'"},
    {"AddedTokensAreNoArray", [](json& r) { r["added_tokens"] = 1; }, kInvalid, "added_tokens"},
    {"AddedTokenIncomplete", [](json& r) { r["added_tokens"][0].erase("lstrip"); }, kInvalid,
     "added_tokens[0] has no member 'lstrip'"},
    {"AddedTokenId", [](json& r) { r["added_tokens"][0]["id"] = "7"; }, kInvalid,
     "added_tokens[0].id"},
    {"AddedTokenNormalizesAway",
     [](json& r) {
       r["normalizer"] = {{"type", "Replace"}, {"pattern", {{"String", "<eos>"}}}, {"content", ""}};
       r["added_tokens"][0]["normalized"] = true;
     },
     kInvalid, "nothing is left of added token '<eos>'"},
};

INSTANTIATE_TEST_SUITE_P(Malformed, RefusalTest, ::testing::ValuesIn(kRefusals),
                         [](const auto& info) { return info.param.name; });

TEST(HuggingFaceTokenizerTest, RefusesEveryTruncation) {
  const std::string whole = SmallTokenizerJson().dump();
  for (size_t size = 0; size < whole.size(); size += 37) {
    const TempFolder folder;
    folder.Write("tokenizer.json", whole.substr(0, size));
    EXPECT_THAT(Tokenizer::FromHuggingFace(folder.path()),
                StatusIs(kInvalid, HasSubstr("tokenizer.json: not valid JSON")))
        << size;
  }
}

// Whatever a flipped bit makes of the file, it is loaded or refused with a message.
TEST(HuggingFaceTokenizerTest, SurvivesFlippedBits) {
  const std::string whole = SmallTokenizerJson().dump();
  for (size_t i = 0; i < whole.size(); i += 11) {
    std::string broken = whole;
    broken[i] = static_cast<char>(broken[i] ^ (1 << (i % 8)));
    const TempFolder folder;
    folder.Write("tokenizer.json", broken);
    const auto tokenizer = Tokenizer::FromHuggingFace(folder.path());
    if (tokenizer.ok()) {
      EXPECT_THAT((*tokenizer)->Encode("hello <eos> \u00e9", {}), IsOk());
    } else {
      EXPECT_THAT(std::string(tokenizer.status().message()), HasSubstr("tokenizer.json: "));
    }
  }
}

TEST(HuggingFaceTokenizerTest, RefusesABadConfig) {
  EXPECT_THAT(LoadJson(SmallTokenizerJson(), "{"),
              StatusIs(kInvalid, HasSubstr("tokenizer_config.json: not valid JSON")));
  EXPECT_THAT(LoadJson(SmallTokenizerJson(), R"({"eos_token": 7})"),
              StatusIs(kInvalid, HasSubstr("eos_token")));
  EXPECT_THAT(LoadJson(SmallTokenizerJson(), R"({"added_tokens_decoder": {"x": {}}})"),
              StatusIs(kInvalid, HasSubstr("tokenizer_config.json: added_tokens_decoder: 'x'")));
  EXPECT_THAT(LoadJson(SmallTokenizerJson(), R"({"extra_special_tokens": [7]})"),
              StatusIs(kInvalid, HasSubstr("extra_special_tokens")));
}

}  // namespace
}  // namespace shira
