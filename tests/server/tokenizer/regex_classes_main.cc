// Says which characters a pattern matches, for regex_classes_test.py.
//
//   regex_classes_main PATTERN...
//
// Prints a line for each pattern: a JSON array of [first, last] code points, in order.

#include <iostream>
#include <string>
#include <vector>

#include "nlohmann/json.hpp"
#include "server/tokenizer/regex.h"
#include "server/tokenizer/utf8.h"

int main(int argc, char** argv) {
  std::string text;
  for (char32_t character = 0; character < 0x110000; ++character) {
    if (character < 0xD800 || character > 0xDFFF) shira::AppendUtf8(character, &text);
  }
  for (int i = 1; i < argc; ++i) {
    const absl::StatusOr<shira::Regex> regex = shira::Regex::Compile(argv[i]);
    if (!regex.ok()) {
      std::cerr << regex.status() << "\n";
      return 1;
    }
    const auto matches = regex->FindAll(text);
    if (!matches.ok()) {
      std::cerr << matches.status() << "\n";
      return 1;
    }
    nlohmann::json ranges = nlohmann::json::array();
    for (const shira::TextRange& match : *matches) {
      size_t begin = match.begin;
      const char32_t first = shira::NextCharacter(text, &begin);
      const char32_t last = shira::PreviousCharacter(text, match.end);
      ranges.push_back({static_cast<uint32_t>(first), static_cast<uint32_t>(last)});
    }
    std::cout << ranges.dump() << "\n";
  }
  return 0;
}
