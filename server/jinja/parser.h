// File: server/jinja/parser.h
//
// Tokens to statements.

#ifndef SHIRA_SERVER_JINJA_PARSER_H_
#define SHIRA_SERVER_JINJA_PARSER_H_

#include <string_view>

#include "absl/status/statusor.h"
#include "server/jinja/ast.h"

namespace shira::jinja {

// INVALID_ARGUMENT for a syntax error, UNIMPLEMENTED for a tag, filter, test or function that is
// not in the tables; with line and column. RESOURCE_EXHAUSTED past the bounds on depth.
absl::StatusOr<Block> ParseTemplate(std::string_view source);

}  // namespace shira::jinja

#endif  // SHIRA_SERVER_JINJA_PARSER_H_
