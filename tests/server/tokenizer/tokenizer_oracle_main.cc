// Runs tokenizers over files of texts, for tests that compare them with another implementation.
//
//   tokenizer_oracle_main (FOLDER_OR_GGUF TEXTS RESULT)...
//
// TEXTS holds a JSON string or an array of ids on each line. The first line of RESULT is an object
// about the tokenizer, or {"error": ...} and nothing else. Then comes one array for each line: of a
// text [ids with special tokens, ids without them and without parsing them, the first ids decoded
// with special tokens, and without them], of ids (those that the vocabulary has) the last two. A
// text that cannot be tokenized is {"error": ...}. Fails where a text that comes token by token is
// not the same in valid parts.

#include <fstream>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "base/gguf_file.h"
#include "base/mapped_file.h"
#include "base/status_macros.h"
#include "base/strings.h"
#include "nlohmann/json.hpp"
#include "server/tokenizer/stream_decoder.h"
#include "server/tokenizer/tokenizer.h"
#include "server/tokenizer/utf8.h"

namespace shira {
namespace {

absl::StatusOr<std::unique_ptr<Tokenizer>> Load(const std::string& path) {
  if (!path.ends_with(".gguf")) return Tokenizer::FromHuggingFace(path);
  SHIRA_ASSIGN_OR_RETURN(const MappedFile file, MappedFile::Open(path));
  SHIRA_ASSIGN_OR_RETURN(const GgufFile gguf, GgufFile::Parse(file.bytes(), path));
  return Tokenizer::FromGguf(gguf);
}

// The decoded text, checked against the same in parts.
absl::StatusOr<std::string> Decode(const Tokenizer& tokenizer, const std::vector<int32_t>& ids,
                                   bool skip_special_tokens) {
  SHIRA_ASSIGN_OR_RETURN(std::string whole, tokenizer.Decode(ids, skip_special_tokens));
  StreamDecoder stream(tokenizer, {.skip_special_tokens = skip_special_tokens});
  std::string parts;
  const auto add = [&](const std::string& part) {
    parts += part;
    return !FirstInvalidUtf8(part).has_value();
  };
  bool valid = true;
  for (const int32_t id : ids) {
    SHIRA_ASSIGN_OR_RETURN(const StreamDecoder::Chunk chunk, stream.Append(id));
    valid = add(chunk.text) && valid;
  }
  valid = add(stream.Finish().text) && valid;
  if (valid && parts == whole) return whole;
  return absl::InternalError(StrCat("'", whole, "' in parts is '", parts, "'"));
}

absl::StatusOr<nlohmann::json> RowOf(const Tokenizer& tokenizer, const nlohmann::json& line) {
  nlohmann::json row = nlohmann::json::array();
  std::vector<int32_t> ids;
  if (line.is_string()) {
    const std::string& text = line.get_ref<const std::string&>();
    const absl::StatusOr<std::vector<int32_t>> parsed = tokenizer.Encode(text, {});
    if (!parsed.ok()) return nlohmann::json{{"error", parsed.status().ToString()}};
    SHIRA_ASSIGN_OR_RETURN(
        const std::vector<int32_t> plain,
        tokenizer.Encode(text, {.add_special_tokens = false, .parse_special_tokens = false}));
    row = {*parsed, plain};
    ids = *parsed;
  } else if (line.is_array()) {
    ids = line.get<std::vector<int32_t>>();
    std::erase_if(ids, [&](int32_t id) { return id >= tokenizer.vocab_size(); });
  } else {
    return absl::InvalidArgumentError(StrCat("neither text nor ids: ", line.dump()));
  }
  for (const bool skip : {false, true}) {
    SHIRA_ASSIGN_OR_RETURN(const std::string text, Decode(tokenizer, ids, skip));
    row.push_back(text);
  }
  return row;
}

absl::Status Run(const std::string& model, const std::string& texts, const std::string& result) {
  std::ofstream output(result);
  const absl::StatusOr<std::unique_ptr<Tokenizer>> tokenizer = Load(model);
  if (!tokenizer.ok()) {
    output << nlohmann::json{{"error", tokenizer.status().ToString()}}.dump() << "\n";
    return absl::OkStatus();
  }
  const absl::Span<const int32_t> ends = (*tokenizer)->end_of_generation_ids();
  nlohmann::json names = nlohmann::json::object();
  for (const NamedToken& token : (*tokenizer)->named_tokens()) names[token.name] = token.text;
  output << nlohmann::json{{"vocab_size", (*tokenizer)->vocab_size()},
                           {"end_of_generation_ids",
                            std::vector<int32_t>(ends.begin(), ends.end())},
                           {"named_tokens", names}}
                .dump()
         << "\n";
  std::ifstream input(texts);
  for (std::string line; std::getline(input, line);) {
    SHIRA_ASSIGN_OR_RETURN(
        const nlohmann::json row,
        RowOf(**tokenizer, nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false)));
    output << row.dump() << "\n";
  }
  output.close();
  return output.good() ? absl::OkStatus() : absl::InternalError(StrCat(result, ": cannot write"));
}

}  // namespace
}  // namespace shira

int main(int argc, char** argv) {
  if (argc < 4 || argc % 3 != 1) {
    std::cerr << "usage: tokenizer_oracle_main (FOLDER_OR_GGUF TEXTS RESULT)...\n";
    return 2;
  }
  for (int i = 1; i < argc; i += 3) {
    const absl::Status status = shira::Run(argv[i], argv[i + 1], argv[i + 2]);
    if (!status.ok()) {
      std::cerr << argv[i] << ": " << status << "\n";
      return 1;
    }
  }
  return 0;
}
