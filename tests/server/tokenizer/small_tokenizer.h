// File: tests/server/tokenizer/small_tokenizer.h
//
// A vocabulary of a few hundred tokens, as tokenizer.json and as GGUF, for tests of what whole
// models do not show.

#ifndef SHIRA_TESTS_SERVER_TOKENIZER_SMALL_TOKENIZER_H_
#define SHIRA_TESTS_SERVER_TOKENIZER_SMALL_TOKENIZER_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "absl/types/span.h"
#include "base/status_macros.h"
#include "nlohmann/json.hpp"
#include "server/tokenizer/byte_level.h"
#include "server/tokenizer/tokenizer.h"
#include "tests/testutil/gguf_bytes.h"
#include "tests/testutil/temp_folder.h"

namespace shira::testing {

// The 256 bytes, then "he", "ll", "hell", "hello", " w" with the merges that make them. Ids in this
// order.
inline constexpr int32_t kHello = 259;
inline std::vector<std::string> SmallTokens() {
  std::vector<std::string> tokens;
  for (int byte = 0; byte < 256; ++byte) {
    tokens.push_back(BytesToByteLevel(std::string(1, static_cast<char>(byte))));
  }
  for (const char* token : {"he", "ll", "hell", "hello", "\u0120w"}) tokens.push_back(token);
  return tokens;
}
inline std::vector<std::string> SmallMerges() {
  return {"h e", "l l", "he ll", "hell o", "\u0120 w"};
}

inline nlohmann::json AddedTokenJson(int32_t id, const std::string& content, bool special = true) {
  return {{"id", id},        {"content", content},  {"single_word", false}, {"lstrip", false},
          {"rstrip", false}, {"normalized", false}, {"special", special}};
}

// "<eos>" is 261, "<user>" 262 and not special.
inline nlohmann::json SmallTokenizerJson() {
  nlohmann::json vocabulary = nlohmann::json::object();
  const std::vector<std::string> tokens = SmallTokens();
  for (size_t id = 0; id < tokens.size(); ++id) vocabulary[tokens[id]] = id;
  return {
      {"added_tokens", {AddedTokenJson(261, "<eos>"), AddedTokenJson(262, "<user>", false)}},
      {"normalizer", nullptr},
      {"pre_tokenizer",
       {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}}},
      {"post_processor", nullptr},
      {"decoder", {{"type", "ByteLevel"}}},
      {"model", {{"type", "BPE"}, {"vocab", vocabulary}, {"merges", SmallMerges()}}},
  };
}

inline absl::StatusOr<std::unique_ptr<Tokenizer>> LoadJson(const nlohmann::json& root,
                                                           const std::string& config = "") {
  const TempFolder folder;
  folder.Write("tokenizer.json", root.dump());
  if (!config.empty()) folder.Write("tokenizer_config.json", config);
  return Tokenizer::FromHuggingFace(folder.path());
}

// The token that templates know as `name`; "(none)" without one.
inline std::string NamedTokenText(const Tokenizer& tokenizer, std::string_view name) {
  for (const NamedToken& token : tokenizer.named_tokens()) {
    if (token.name == name) return token.text;
  }
  return "(none)";
}

// The metadata of a GGUF file, to be changed and written.
using MetadataValue =
    std::variant<bool, uint32_t, std::string, std::vector<int32_t>, std::vector<std::string>>;
using Metadata = std::map<std::string, MetadataValue>;

inline Metadata SmallGguf() {
  std::vector<std::string> tokens = SmallTokens();
  std::vector<int32_t> types(tokens.size(), 1);
  for (const auto& [token, type] : std::map<std::string, int32_t>{{"<eos>", 3}, {"<user>", 4}}) {
    tokens.push_back(token);
    types.push_back(type);
  }
  return {{"tokenizer.ggml.model", "gpt2"},         {"tokenizer.ggml.pre", "smollm"},
          {"tokenizer.ggml.tokens", tokens},        {"tokenizer.ggml.token_type", types},
          {"tokenizer.ggml.merges", SmallMerges()}, {"tokenizer.ggml.eos_token_id", 261u}};
}

inline std::string GgufBytesOf(const Metadata& metadata) {
  GgufBytes file(0, metadata.size());
  for (const auto& [key, value] : metadata) {
    file.Text(key);
    if (const auto* flag = std::get_if<bool>(&value)) {
      file.Put(uint32_t{7}).Put(static_cast<uint8_t>(*flag));
    } else if (const auto* number = std::get_if<uint32_t>(&value)) {
      file.Put(uint32_t{4}).Put(*number);
    } else if (const auto* text = std::get_if<std::string>(&value)) {
      file.Put(uint32_t{8}).Text(*text);
    } else if (const auto* numbers = std::get_if<std::vector<int32_t>>(&value)) {
      file.Put(uint32_t{9}).Put(uint32_t{5}).Put(uint64_t{numbers->size()});
      for (const int32_t element : *numbers) file.Put(element);
    } else {
      const auto& texts = std::get<std::vector<std::string>>(value);
      file.Put(uint32_t{9}).Put(uint32_t{8}).Put(uint64_t{texts.size()});
      for (const std::string& element : texts) file.Text(element);
    }
  }
  return file.bytes();
}

inline absl::StatusOr<std::unique_ptr<Tokenizer>> LoadGguf(const Metadata& metadata) {
  const std::string bytes = GgufBytesOf(metadata);
  SHIRA_ASSIGN_OR_RETURN(
      const GgufFile gguf,
      GgufFile::Parse(
          absl::MakeConstSpan(reinterpret_cast<const std::byte*>(bytes.data()), bytes.size()),
          "small.gguf"));
  return Tokenizer::FromGguf(gguf);
}

}  // namespace shira::testing

#endif  // SHIRA_TESTS_SERVER_TOKENIZER_SMALL_TOKENIZER_H_
