#include "server/jinja/token_stream.h"

#include "base/strings.h"

namespace shira::jinja {

std::string Describe(const Token& token) {
  switch (token.kind) {
    case Token::Kind::kText:
      return "text";
    case Token::Kind::kVariableBegin:
      return "'{{'";
    case Token::Kind::kVariableEnd:
      return "'}}'";
    case Token::Kind::kBlockBegin:
      return "'{%'";
    case Token::Kind::kBlockEnd:
      return "'%}'";
    case Token::Kind::kEnd:
      return "the end of the template";
    case Token::Kind::kString:
      return "a string";
    default:
      return StrCat("'", token.text, "'");
  }
}

bool TokenStream::SkipName(std::string_view name) {
  if (!current().IsName(name)) return false;
  Take();
  return true;
}

bool TokenStream::SkipOperator(std::string_view op) {
  if (!current().IsOperator(op)) return false;
  Take();
  return true;
}

absl::Status TokenStream::ExpectOperator(std::string_view op) {
  if (SkipOperator(op)) return absl::OkStatus();
  return SyntaxError(current().position,
                     StrCat("expected '", op, "', found ", Describe(current())));
}

absl::Status TokenStream::ExpectName(std::string_view name) {
  if (SkipName(name)) return absl::OkStatus();
  return SyntaxError(current().position,
                     StrCat("expected '", name, "', found ", Describe(current())));
}

absl::Status TokenStream::Expect(Token::Kind kind) {
  if (current().kind == kind) {
    Take();
    return absl::OkStatus();
  }
  return SyntaxError(current().position,
                     StrCat("expected ", Describe(Token{kind}), ", found ", Describe(current())));
}

absl::StatusOr<std::string> TokenStream::TakeName() {
  if (current().kind != Token::Kind::kName) {
    return SyntaxError(current().position, StrCat("expected a name, found ", Describe(current())));
  }
  return Take().text;
}

}  // namespace shira::jinja
