// File: server/tokenizer/newer_characters.h
//
// Characters that the libraries below us do not know yet. Hugging Face's tokenizers have the data
// of Unicode 16 in regular expressions and of Unicode 17 elsewhere; Debian 12 has PCRE2 with
// Unicode 14 and ICU with Unicode 15. The table is made by scripts/newer_characters.py.

#ifndef SHIRA_SERVER_TOKENIZER_NEWER_CHARACTERS_H_
#define SHIRA_SERVER_TOKENIZER_NEWER_CHARACTERS_H_

#include <string>
#include <string_view>

#include "absl/types/span.h"

namespace shira {

// A range that came after Unicode 14, or changed its category. In order.
struct NewerCharacters {
  char32_t first;
  char32_t last;
  int unicode;                // the version that has them so: 16 (or 15) or 17
  std::string_view category;  // "Lu"
  std::string_view script;    // without spaces and in capitals: "HAN"; empty for Unicode 17
};
absl::Span<const NewerCharacters> NewerCharacterTable();

struct NewerLowercase {
  char32_t capital;
  char32_t small;
};
absl::Span<const NewerLowercase> NewerLowercaseTable();

// The ranges up to Unicode `unicode` whose category begins with `category` ("L", "Lu"), or whose
// script is `script` (in any spelling), as members of a class of PCRE2: "\x{a7cb}-\x{a7cd}...".
std::string NewerOfCategory(std::string_view category, int unicode = 16);
std::string NewerOfScript(std::string_view script);

// Whether a character of these categories ("L", "Nd") came after Unicode 14, up to Unicode 16.
bool IsNewer(char32_t character, absl::Span<const std::string_view> categories);

// The small letter of a new capital one; any other character itself.
char32_t NewerToLower(char32_t character);

}  // namespace shira

#endif  // SHIRA_SERVER_TOKENIZER_NEWER_CHARACTERS_H_
