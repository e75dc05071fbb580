// Runs a tokenizer over a file of texts, for tests that compare it with another implementation.
//
//   tokenizer_oracle_main FOLDER_OR_GGUF TEXTS RESULT
//
// TEXTS holds one JSON string a line. The first line of RESULT is an object about the tokenizer.
// Then comes one array for each text: [ids with special tokens, ids without them and without
// parsing them, the first ids decoded with special tokens, and without them].

#include <fstream>
#include <iostream>
#include <memory>
#include <string>

#include "base/gguf_file.h"
#include "base/mapped_file.h"
#include "base/status_macros.h"
#include "base/strings.h"
#include "nlohmann/json.hpp"
#include "server/tokenizer/tokenizer.h"

namespace shira {
namespace {

absl::StatusOr<std::unique_ptr<Tokenizer>> Load(const std::string& path) {
  if (!path.ends_with(".gguf")) return Tokenizer::FromHuggingFace(path);
  SHIRA_ASSIGN_OR_RETURN(const MappedFile file, MappedFile::Open(path));
  SHIRA_ASSIGN_OR_RETURN(const GgufFile gguf, GgufFile::Parse(file.bytes(), path));
  return Tokenizer::FromGguf(gguf);
}

absl::Status Run(const std::string& model, const std::string& texts, const std::string& result) {
  SHIRA_ASSIGN_OR_RETURN(const std::unique_ptr<Tokenizer> tokenizer, Load(model));
  std::ifstream input(texts);
  std::ofstream output(result);
  const absl::Span<const int32_t> ends = tokenizer->end_of_generation_ids();
  nlohmann::json names = nlohmann::json::object();
  for (const NamedToken& token : tokenizer->named_tokens()) names[token.name] = token.text;
  output << nlohmann::json{{"vocab_size", tokenizer->vocab_size()},
                           {"end_of_generation_ids",
                            std::vector<int32_t>(ends.begin(), ends.end())},
                           {"named_tokens", names}}
                .dump()
         << "\n";
  for (std::string line; std::getline(input, line);) {
    const nlohmann::json text = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (!text.is_string()) return absl::InvalidArgumentError(StrCat("no JSON string: ", line));
    const std::string& value = text.get_ref<const std::string&>();
    SHIRA_ASSIGN_OR_RETURN(const std::vector<int32_t> special, tokenizer->Encode(value, {}));
    SHIRA_ASSIGN_OR_RETURN(
        const std::vector<int32_t> plain,
        tokenizer->Encode(value, {.add_special_tokens = false, .parse_special_tokens = false}));
    SHIRA_ASSIGN_OR_RETURN(const std::string whole, tokenizer->Decode(special, false));
    SHIRA_ASSIGN_OR_RETURN(const std::string skipped, tokenizer->Decode(special, true));
    output << nlohmann::json::array({special, plain, whole, skipped}).dump() << "\n";
  }
  output.close();
  return output.good() ? absl::OkStatus() : absl::InternalError(StrCat(result, ": cannot write"));
}

}  // namespace
}  // namespace shira

int main(int argc, char** argv) {
  if (argc != 4) {
    std::cerr << "usage: tokenizer_oracle_main FOLDER_OR_GGUF TEXTS RESULT\n";
    return 2;
  }
  const absl::Status status = shira::Run(argv[1], argv[2], argv[3]);
  if (!status.ok()) {
    std::cerr << status << "\n";
    return 1;
  }
  return 0;
}
