// File: server/tokenizer/matching_characters.h
//
// A class of characters that PCRE2 cannot write as one: the characters that it holds, found by
// trying all of them.

#ifndef SHIRA_SERVER_TOKENIZER_MATCHING_CHARACTERS_H_
#define SHIRA_SERVER_TOKENIZER_MATCHING_CHARACTERS_H_

#include <string>

#include "absl/status/statusor.h"

namespace shira {

// The characters that `expression` matches, which matches one at a time, in the syntax of PCRE2: as
// members of a class, in order ("\x{41}-\x{5a}"); empty for none. Takes about a tenth of a second.
// INVALID_ARGUMENT for a syntax error.
absl::StatusOr<std::string> MatchingCharacters(const std::string& expression);

}  // namespace shira

#endif  // SHIRA_SERVER_TOKENIZER_MATCHING_CHARACTERS_H_
