// File: server/tokenizer/regex.h
//
// A compiled regular expression of a tokenizer. PCRE2 with Unicode properties, just-in-time
// compiled where the machine allows it. Characters have the classes of Unicode 16, whatever the
// installed library knows (oniguruma_pattern.h).

#ifndef SHIRA_SERVER_TOKENIZER_REGEX_H_
#define SHIRA_SERVER_TOKENIZER_REGEX_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"

namespace shira {

// A range of bytes in a text.
struct TextRange {
  size_t begin;
  size_t end;
};

// Immutable and thread-safe.
class Regex {
 public:
  // A pattern in the syntax of tokenizer.json (see oniguruma_pattern.h). INVALID_ARGUMENT, with the
  // offset, for a syntax error; UNIMPLEMENTED for what PCRE2 cannot express.
  static absl::StatusOr<Regex> Compile(std::string_view pattern);

  // Matches `text` itself. REQUIRES: valid UTF-8, not empty.
  static absl::StatusOr<Regex> Literal(std::string_view text);

  // The leftmost matches from left to right, not overlapping. An empty match directly behind the
  // previous match does not count. RESOURCE_EXHAUSTED when an attempt to match at one place needs
  // more steps or memory than the limits allow. REQUIRES: valid UTF-8.
  absl::StatusOr<std::vector<TextRange>> FindAll(std::string_view text) const;

  // `text` with every match replaced. Errors of FindAll. REQUIRES: valid UTF-8.
  absl::StatusOr<std::string> ReplaceAll(std::string_view text, std::string_view content) const;

 private:
  struct Code;
  static absl::StatusOr<Regex> CompilePcre(std::string_view pattern, std::string_view shown,
                                           uint32_t options);
  Regex(std::string shown, std::shared_ptr<const Code> code)
      : shown_(std::move(shown)), code_(std::move(code)) {}

  std::string shown_;  // for messages
  std::shared_ptr<const Code> code_;
};

}  // namespace shira

#endif  // SHIRA_SERVER_TOKENIZER_REGEX_H_
