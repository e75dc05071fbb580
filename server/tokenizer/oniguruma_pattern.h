// File: server/tokenizer/oniguruma_pattern.h
//
// The regular expressions of tokenizer.json are written for Oniguruma; ours run on PCRE2. Most of
// the syntax is shared; this rewrites what means something else there and refuses what has no
// equal.

#ifndef SHIRA_SERVER_TOKENIZER_ONIGURUMA_PATTERN_H_
#define SHIRA_SERVER_TOKENIZER_ONIGURUMA_PATTERN_H_

#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace shira {

// The PCRE2 pattern (for PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE and newline LF) that matches what
// `pattern` matches in Oniguruma:
//   \s       White_Space (PCRE2 adds U+180E)
//   \w \b    letters, marks, decimal digits and connectors (PCRE2: no marks); outside of a class
//            also the superscripts and fractions of Latin-1
//   \v       U+000B (PCRE2: any vertical space)
//   \uHHHH   that code point
//   {,n}     {0,n}
//   {n,m}+   a repeated group, not a possessive one
//   \p{Han}  the Script property (PCRE2: Script_Extensions)
//   \p{L}    and every other class with the characters of Unicode 16 (newer_characters.h)
//   [a[^b]]  classes in classes, and their intersections (&&)
// UNIMPLEMENTED, with the offset, for back references, POSIX brackets, options other than (?i:...)
// and the escapes that this table and the common ones do not hold. What is left of syntax errors is
// for PCRE2 to find.
absl::StatusOr<std::string> PcreFromOniguruma(std::string_view pattern);

}  // namespace shira

#endif  // SHIRA_SERVER_TOKENIZER_ONIGURUMA_PATTERN_H_
