// File: server/jinja/string_literal.h
//
// The escapes of a string literal in a template.

#ifndef SHIRA_SERVER_JINJA_STRING_LITERAL_H_
#define SHIRA_SERVER_JINJA_STRING_LITERAL_H_

#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace shira::jinja {

// What Python's "unicode-escape" makes of the text between the quotes. INVALID_ARGUMENT for a
// broken escape and for surrogates, which no UTF-8 text can hold; UNIMPLEMENTED for \N{name}.
absl::StatusOr<std::string> UnescapeStringLiteral(std::string_view literal);

}  // namespace shira::jinja

#endif  // SHIRA_SERVER_JINJA_STRING_LITERAL_H_
