// File: server/jinja/lexer.h
//
// Template text to tokens, with the settings of transformers: trim_blocks, lstrip_blocks, and one
// newline dropped at the end of the template. White space control is applied here, so that the
// parser gets text that is printed as it is.

#ifndef SHIRA_SERVER_JINJA_LEXER_H_
#define SHIRA_SERVER_JINJA_LEXER_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace shira::jinja {

// Counted from 1, in characters.
struct Position {
  int line = 1;
  int column = 1;
};

// The status with "line L, column C: " before its message.
absl::Status At(const Position& position, const absl::Status& status);
absl::Status SyntaxError(const Position& position, std::string_view message);

struct Token {
  enum class Kind {
    kText,           // to be printed
    kVariableBegin,  // {{
    kVariableEnd,
    kBlockBegin,  // {%
    kBlockEnd,
    kName,
    kString,
    kInteger,
    kFloat,
    kOperator,  // text is the operator
    kEnd
  };
  Kind kind = Kind::kEnd;
  Position position = {};
  std::string text = "";  // of a string: unescaped
  int64_t integer = 0;
  double number = 0;

  bool IsName(std::string_view name) const { return kind == Kind::kName && text == name; }
  bool IsOperator(std::string_view op) const { return kind == Kind::kOperator && text == op; }
};

// The last token is kEnd. INVALID_ARGUMENT with line and column.
absl::StatusOr<std::vector<Token>> Tokenize(std::string_view source);

}  // namespace shira::jinja

#endif  // SHIRA_SERVER_JINJA_LEXER_H_
