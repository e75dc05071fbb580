// File: server/jinja/expression_parser.h
//
// Tokens to expressions, with jinja2's precedence, which is not quite Python's: a filter binds
// tighter than a sign, `~` sits between `+` and `*`, and `**` groups from the left.

#ifndef SHIRA_SERVER_JINJA_EXPRESSION_PARSER_H_
#define SHIRA_SERVER_JINJA_EXPRESSION_PARSER_H_

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "server/jinja/ast.h"
#include "server/jinja/lexer.h"
#include "server/jinja/token_stream.h"

namespace shira::jinja {

// Resolves the names of a template as far as its text allows: the parser reports them in the order
// of the text.
class NameObserver {
 public:
  virtual ~NameObserver() = default;
  virtual void OnRead(const std::string& name, const Position& position) = 0;
  virtual void OnCall(const std::string& name, const Position& position) = 0;
};

class ExpressionParser {
 public:
  ExpressionParser(TokenStream& stream, NameObserver& names) : stream_(stream), names_(names) {}

  absl::StatusOr<ExpressionPtr> Parse(bool with_conditional = true);
  // One expression, or a tuple when commas follow.
  absl::StatusOr<ExpressionPtr> ParseTuple(bool with_conditional = true);
  // "| f | g", or with `starts_inline` "f | g". nullptr if there is no filter.
  absl::StatusOr<ExpressionPtr> ParseFilters(ExpressionPtr input, bool starts_inline = false);

 private:
  using Parsed = absl::StatusOr<ExpressionPtr>;

  Parsed ParseConditional();
  Parsed ParseOr();
  Parsed ParseAnd();
  Parsed ParseNot();
  Parsed ParseComparison();
  Parsed ParseSum();
  Parsed ParseConcatenation();
  Parsed ParseProduct();
  Parsed ParsePower();
  Parsed ParseUnary(bool with_filter = true);
  Parsed ParsePrimary();
  Parsed ParseParentheses();
  Parsed ParseList();
  Parsed ParseDict();
  Parsed ParsePostfix(ExpressionPtr operand);
  Parsed ParseFilterChain(ExpressionPtr operand);
  Parsed ParseSubscript(ExpressionPtr object);
  Parsed ParseTest(ExpressionPtr input);
  Parsed ParseCall(ExpressionPtr callee);
  absl::StatusOr<ArgumentList> ParseArguments();
  absl::StatusOr<std::string> ParseDottedName();

  // Puts a node together and checks the depth of its tree.
  Parsed Make(const Position& position, Expression::Node node) const;

  TokenStream& stream_;
  NameObserver& names_;
  int nesting_ = 0;
};

}  // namespace shira::jinja

#endif  // SHIRA_SERVER_JINJA_EXPRESSION_PARSER_H_
