// File: server/tokenizer/pattern.h
//
// The member "pattern" of the components Split and Replace in tokenizer.json: {"Regex": ...} or
// {"String": ...}.

#ifndef SHIRA_SERVER_TOKENIZER_PATTERN_H_
#define SHIRA_SERVER_TOKENIZER_PATTERN_H_

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"
#include "server/tokenizer/regex.h"

namespace shira {

// INVALID_ARGUMENT for a malformed pattern, UNIMPLEMENTED for a regular expression beyond ours;
// messages name `where`.
absl::StatusOr<Regex> PatternFromJson(const nlohmann::json& component, std::string_view where);

// The text of a pattern {"String": ...}; empty for a regular expression. INVALID_ARGUMENT as above.
absl::StatusOr<std::string> LiteralOfPattern(const nlohmann::json& component,
                                             std::string_view where);

}  // namespace shira

#endif  // SHIRA_SERVER_TOKENIZER_PATTERN_H_
