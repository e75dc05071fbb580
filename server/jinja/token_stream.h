// File: server/jinja/token_stream.h
//
// What the parsers read their tokens from.

#ifndef SHIRA_SERVER_JINJA_TOKEN_STREAM_H_
#define SHIRA_SERVER_JINJA_TOKEN_STREAM_H_

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/jinja/lexer.h"

namespace shira::jinja {

class TokenStream {
 public:
  // REQUIRES: the last token is kEnd.
  explicit TokenStream(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}

  const Token& current() const { return tokens_[index_]; }
  const Token& ahead() const { return tokens_[std::min(index_ + 1, tokens_.size() - 1)]; }
  Token Take() {
    Token token = current();
    if (index_ + 1 < tokens_.size()) ++index_;
    return token;
  }
  bool SkipName(std::string_view name);
  bool SkipOperator(std::string_view op);
  // INVALID_ARGUMENT if something else comes.
  absl::Status ExpectOperator(std::string_view op);
  absl::Status ExpectName(std::string_view name);
  absl::Status Expect(Token::Kind kind);
  absl::StatusOr<std::string> TakeName();

 private:
  std::vector<Token> tokens_;
  size_t index_ = 0;
};

// The token as error messages show it.
std::string Describe(const Token& token);

}  // namespace shira::jinja

#endif  // SHIRA_SERVER_JINJA_TOKEN_STREAM_H_
