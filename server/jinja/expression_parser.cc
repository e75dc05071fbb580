#include "server/jinja/expression_parser.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "base/status_macros.h"
#include "base/strings.h"
#include "server/jinja/builtins.h"
#include "server/jinja/limits.h"

namespace shira::jinja {

namespace {

absl::Status TooDeep(const Position& position) {
  return At(position, absl::ResourceExhaustedError(
                          StrCat("an expression of more than ", kMaxExpressionDepth, " levels")));
}

std::optional<Comparison> ComparisonOf(const Token& token) {
  if (token.kind != Token::Kind::kOperator) return std::nullopt;
  if (token.text == "==") return Comparison::kEqual;
  if (token.text == "!=") return Comparison::kNotEqual;
  if (token.text == "<") return Comparison::kLess;
  if (token.text == "<=") return Comparison::kLessOrEqual;
  if (token.text == ">") return Comparison::kGreater;
  if (token.text == ">=") return Comparison::kGreaterOrEqual;
  return std::nullopt;
}

// map('f'), select('t') and their like name a filter or test in a string: where the text shows it,
// it is checked here.
absl::Status CheckNamedBuiltin(std::string_view filter, const ArgumentList& arguments,
                               const Position& position) {
  const bool by_attribute = filter == "selectattr" || filter == "rejectattr";
  const bool by_test = by_attribute || filter == "select" || filter == "reject";
  if (!by_test && filter != "map") return absl::OkStatus();
  const size_t index = by_attribute ? 1 : 0;
  if (arguments.positional.size() <= index) return absl::OkStatus();
  const auto* constant = std::get_if<Constant>(&arguments.positional[index]->node);
  if (constant == nullptr || !constant->value.is_string()) return absl::OkStatus();
  const std::string& name = constant->value.text();
  if ((by_test ? Tests() : Filters()).Find(name) != nullptr) return absl::OkStatus();
  return At(position, absl::UnimplementedError(
                          StrCat("unknown ", by_test ? "test" : "filter", " '", name, "'")));
}

}  // namespace

absl::StatusOr<ExpressionPtr> ExpressionParser::Make(const Position& position,
                                                     Expression::Node node) const {
  auto expression = std::make_unique<Expression>();
  expression->position = position;
  expression->depth = ChildrenDepth(node) + 1;
  expression->node = std::move(node);
  if (expression->depth > kMaxExpressionDepth) return TooDeep(position);
  return ExpressionPtr(std::move(expression));
}

absl::StatusOr<ExpressionPtr> ExpressionParser::Parse(bool with_conditional) {
  if (nesting_ >= kMaxExpressionDepth) return TooDeep(stream_.current().position);
  ++nesting_;
  Parsed parsed = with_conditional ? ParseConditional() : ParseOr();
  --nesting_;
  return parsed;
}

absl::StatusOr<ExpressionPtr> ExpressionParser::ParseConditional() {
  const Position position = stream_.current().position;
  SHIRA_ASSIGN_OR_RETURN(ExpressionPtr value, ParseOr());
  while (stream_.SkipName("if")) {
    SHIRA_ASSIGN_OR_RETURN(ExpressionPtr condition, ParseOr());
    ExpressionPtr otherwise;
    if (stream_.SkipName("else")) {
      SHIRA_ASSIGN_OR_RETURN(otherwise, Parse());
    }
    SHIRA_ASSIGN_OR_RETURN(value, Make(position, Conditional{std::move(condition), std::move(value),
                                                             std::move(otherwise)}));
  }
  return value;
}

absl::StatusOr<ExpressionPtr> ExpressionParser::ParseOr() {
  const Position position = stream_.current().position;
  SHIRA_ASSIGN_OR_RETURN(ExpressionPtr left, ParseAnd());
  while (stream_.SkipName("or")) {
    SHIRA_ASSIGN_OR_RETURN(ExpressionPtr right, ParseAnd());
    SHIRA_ASSIGN_OR_RETURN(left, Make(position, Logical{false, std::move(left), std::move(right)}));
  }
  return left;
}

absl::StatusOr<ExpressionPtr> ExpressionParser::ParseAnd() {
  const Position position = stream_.current().position;
  SHIRA_ASSIGN_OR_RETURN(ExpressionPtr left, ParseNot());
  while (stream_.SkipName("and")) {
    SHIRA_ASSIGN_OR_RETURN(ExpressionPtr right, ParseNot());
    SHIRA_ASSIGN_OR_RETURN(left, Make(position, Logical{true, std::move(left), std::move(right)}));
  }
  return left;
}

absl::StatusOr<ExpressionPtr> ExpressionParser::ParseNot() {
  const Position position = stream_.current().position;
  if (!stream_.SkipName("not")) return ParseComparison();
  if (nesting_ >= kMaxExpressionDepth) return TooDeep(position);
  ++nesting_;
  Parsed operand = ParseNot();
  --nesting_;
  SHIRA_RETURN_IF_ERROR(operand.status());
  return Make(position, Not{*std::move(operand)});
}

absl::StatusOr<ExpressionPtr> ExpressionParser::ParseComparison() {
  const Position position = stream_.current().position;
  SHIRA_ASSIGN_OR_RETURN(ExpressionPtr first, ParseSum());
  std::vector<std::pair<Comparison, ExpressionPtr>> rest;
  while (true) {
    std::optional<Comparison> op = ComparisonOf(stream_.current());
    if (op) {
      stream_.Take();
    } else if (stream_.SkipName("in")) {
      op = Comparison::kIn;
    } else if (stream_.current().IsName("not") && stream_.ahead().IsName("in")) {
      stream_.Take();
      stream_.Take();
      op = Comparison::kNotIn;
    } else {
      break;
    }
    SHIRA_ASSIGN_OR_RETURN(ExpressionPtr operand, ParseSum());
    rest.emplace_back(*op, std::move(operand));
  }
  if (rest.empty()) return first;
  return Make(position, ComparisonChain{std::move(first), std::move(rest)});
}

absl::StatusOr<ExpressionPtr> ExpressionParser::ParseSum() {
  const Position position = stream_.current().position;
  SHIRA_ASSIGN_OR_RETURN(ExpressionPtr left, ParseConcatenation());
  while (stream_.current().IsOperator("+") || stream_.current().IsOperator("-")) {
    const bool add = stream_.Take().text == "+";
    SHIRA_ASSIGN_OR_RETURN(ExpressionPtr right, ParseConcatenation());
    SHIRA_ASSIGN_OR_RETURN(
        left, Make(position, Binary{add ? BinaryOperator::kAdd : BinaryOperator::kSubtract,
                                    std::move(left), std::move(right)}));
  }
  return left;
}

absl::StatusOr<ExpressionPtr> ExpressionParser::ParseConcatenation() {
  const Position position = stream_.current().position;
  SHIRA_ASSIGN_OR_RETURN(ExpressionPtr first, ParseProduct());
  if (!stream_.current().IsOperator("~")) return first;
  Concatenation concatenation;
  concatenation.parts.push_back(std::move(first));
  while (stream_.SkipOperator("~")) {
    SHIRA_ASSIGN_OR_RETURN(ExpressionPtr part, ParseProduct());
    concatenation.parts.push_back(std::move(part));
  }
  return Make(position, std::move(concatenation));
}

absl::StatusOr<ExpressionPtr> ExpressionParser::ParseProduct() {
  const auto operator_here = [this]() -> std::optional<BinaryOperator> {
    const Token& token = stream_.current();
    if (token.IsOperator("*")) return BinaryOperator::kMultiply;
    if (token.IsOperator("/")) return BinaryOperator::kDivide;
    if (token.IsOperator("//")) return BinaryOperator::kFloorDivide;
    if (token.IsOperator("%")) return BinaryOperator::kModulo;
    return std::nullopt;
  };
  const Position position = stream_.current().position;
  SHIRA_ASSIGN_OR_RETURN(ExpressionPtr left, ParsePower());
  while (const std::optional<BinaryOperator> op = operator_here()) {
    stream_.Take();
    SHIRA_ASSIGN_OR_RETURN(ExpressionPtr right, ParsePower());
    SHIRA_ASSIGN_OR_RETURN(left, Make(position, Binary{*op, std::move(left), std::move(right)}));
  }
  return left;
}

absl::StatusOr<ExpressionPtr> ExpressionParser::ParsePower() {
  const Position position = stream_.current().position;
  SHIRA_ASSIGN_OR_RETURN(ExpressionPtr left, ParseUnary());
  while (stream_.SkipOperator("**")) {
    SHIRA_ASSIGN_OR_RETURN(ExpressionPtr right, ParseUnary());
    SHIRA_ASSIGN_OR_RETURN(
        left, Make(position, Binary{BinaryOperator::kPower, std::move(left), std::move(right)}));
  }
  return left;
}

absl::StatusOr<ExpressionPtr> ExpressionParser::ParseUnary(bool with_filter) {
  if (nesting_ >= kMaxExpressionDepth) return TooDeep(stream_.current().position);
  ++nesting_;
  const absl::Cleanup leave = [this] { --nesting_; };
  const Position position = stream_.current().position;
  ExpressionPtr operand;
  if (stream_.current().IsOperator("-") || stream_.current().IsOperator("+")) {
    const bool negative = stream_.Take().text == "-";
    SHIRA_ASSIGN_OR_RETURN(operand, ParseUnary(false));
    SHIRA_ASSIGN_OR_RETURN(operand, Make(position, Sign{negative, std::move(operand)}));
  } else {
    SHIRA_ASSIGN_OR_RETURN(operand, ParsePrimary());
  }
  SHIRA_ASSIGN_OR_RETURN(operand, ParsePostfix(std::move(operand)));
  if (!with_filter) return operand;
  return ParseFilterChain(std::move(operand));
}

absl::StatusOr<ExpressionPtr> ExpressionParser::ParsePrimary() {
  const Token token = stream_.current();
  switch (token.kind) {
    case Token::Kind::kName:
      stream_.Take();
      if (token.text == "true" || token.text == "True" || token.text == "false" ||
          token.text == "False") {
        const bool value = token.text == "true" || token.text == "True";
        return Make(token.position, Constant{Value::Bool(value)});
      }
      if (token.text == "none" || token.text == "None") {
        return Make(token.position, Constant{Value::None()});
      }
      names_.OnRead(token.text, token.position);
      return Make(token.position, Name{token.text});
    case Token::Kind::kString: {
      std::string text;
      while (stream_.current().kind == Token::Kind::kString) text += stream_.Take().text;
      return Make(token.position, Constant{Value::String(std::move(text))});
    }
    case Token::Kind::kInteger:
      stream_.Take();
      return Make(token.position, Constant{Value::Int(token.integer)});
    case Token::Kind::kFloat:
      stream_.Take();
      return Make(token.position, Constant{Value::Float(token.number)});
    default:
      break;
  }
  if (token.IsOperator("(")) return ParseParentheses();
  if (token.IsOperator("[")) return ParseList();
  if (token.IsOperator("{")) return ParseDict();
  return SyntaxError(token.position, StrCat("expected an expression, found ", Describe(token)));
}

absl::StatusOr<ExpressionPtr> ExpressionParser::ParseParentheses() {
  const Position position = stream_.Take().position;
  if (stream_.SkipOperator(")")) return Make(position, TupleLiteral{});
  SHIRA_ASSIGN_OR_RETURN(ExpressionPtr inner, ParseTuple());
  SHIRA_RETURN_IF_ERROR(stream_.ExpectOperator(")"));
  return inner;
}

absl::StatusOr<ExpressionPtr> ExpressionParser::ParseTuple(bool with_conditional) {
  const Position position = stream_.current().position;
  const auto at_end = [&] {
    const Token& token = stream_.current();
    return token.kind == Token::Kind::kVariableEnd || token.kind == Token::Kind::kBlockEnd ||
           token.IsOperator(")");
  };
  TupleLiteral tuple;
  bool is_tuple = false;
  while (!at_end()) {
    SHIRA_ASSIGN_OR_RETURN(ExpressionPtr item, Parse(with_conditional));
    tuple.items.push_back(std::move(item));
    if (!stream_.SkipOperator(",")) break;
    is_tuple = true;
  }
  if (is_tuple) return Make(position, std::move(tuple));
  if (tuple.items.size() == 1) return std::move(tuple.items[0]);
  return SyntaxError(position,
                     StrCat("expected an expression, found ", Describe(stream_.current())));
}

absl::StatusOr<ExpressionPtr> ExpressionParser::ParseList() {
  const Position position = stream_.Take().position;
  ListLiteral list;
  while (!stream_.current().IsOperator("]")) {
    if (!list.items.empty()) {
      SHIRA_RETURN_IF_ERROR(stream_.ExpectOperator(","));
      if (stream_.current().IsOperator("]")) break;
    }
    SHIRA_ASSIGN_OR_RETURN(ExpressionPtr item, Parse());
    list.items.push_back(std::move(item));
  }
  stream_.Take();
  return Make(position, std::move(list));
}

absl::StatusOr<ExpressionPtr> ExpressionParser::ParseDict() {
  const Position position = stream_.Take().position;
  DictLiteral dict;
  while (!stream_.current().IsOperator("}")) {
    if (!dict.entries.empty()) {
      SHIRA_RETURN_IF_ERROR(stream_.ExpectOperator(","));
      if (stream_.current().IsOperator("}")) break;
    }
    SHIRA_ASSIGN_OR_RETURN(ExpressionPtr key, Parse());
    SHIRA_RETURN_IF_ERROR(stream_.ExpectOperator(":"));
    SHIRA_ASSIGN_OR_RETURN(ExpressionPtr value, Parse());
    dict.entries.emplace_back(std::move(key), std::move(value));
  }
  stream_.Take();
  return Make(position, std::move(dict));
}

absl::StatusOr<ExpressionPtr> ExpressionParser::ParsePostfix(ExpressionPtr operand) {
  while (true) {
    const Token& token = stream_.current();
    if (token.IsOperator(".") || token.IsOperator("[")) {
      SHIRA_ASSIGN_OR_RETURN(operand, ParseSubscript(std::move(operand)));
    } else if (token.IsOperator("(")) {
      SHIRA_ASSIGN_OR_RETURN(operand, ParseCall(std::move(operand)));
    } else {
      return operand;
    }
  }
}

absl::StatusOr<ExpressionPtr> ExpressionParser::ParseFilterChain(ExpressionPtr operand) {
  while (true) {
    const Token& token = stream_.current();
    if (token.IsOperator("|")) {
      SHIRA_ASSIGN_OR_RETURN(operand, ParseFilters(std::move(operand)));
    } else if (token.IsName("is")) {
      SHIRA_ASSIGN_OR_RETURN(operand, ParseTest(std::move(operand)));
    } else if (token.IsOperator("(")) {
      SHIRA_ASSIGN_OR_RETURN(operand, ParseCall(std::move(operand)));
    } else {
      return operand;
    }
  }
}

absl::StatusOr<ExpressionPtr> ExpressionParser::ParseSubscript(ExpressionPtr object) {
  const Token opener = stream_.Take();
  if (opener.text == ".") {
    const Token name = stream_.Take();
    if (name.kind == Token::Kind::kName) {
      return Make(opener.position, Attribute{std::move(object), name.text});
    }
    if (name.kind != Token::Kind::kInteger) {
      return SyntaxError(name.position,
                         StrCat("expected a name or number, found ", Describe(name)));
    }
    SHIRA_ASSIGN_OR_RETURN(ExpressionPtr index,
                           Make(name.position, Constant{Value::Int(name.integer)}));
    return Make(opener.position, Subscript{std::move(object), std::move(index)});
  }
  const auto at_part_end = [this] {
    return stream_.current().IsOperator("]") || stream_.current().IsOperator(",") ||
           stream_.current().IsOperator(":");
  };
  ExpressionPtr parts[3];
  size_t colons = 0;
  std::vector<ExpressionPtr> items;
  bool is_tuple = stream_.current().IsOperator("]");  // x[] asks for the empty tuple
  while (!stream_.current().IsOperator("]")) {
    if (!at_part_end()) {
      SHIRA_ASSIGN_OR_RETURN(parts[colons], Parse());
    }
    if (stream_.current().IsOperator(":") && colons < 2) {
      stream_.Take();
      ++colons;
      continue;
    }
    if (stream_.current().IsOperator("]")) break;
    if (colons > 0 || parts[0] == nullptr) {
      return SyntaxError(stream_.current().position,
                         StrCat("expected ']', found ", Describe(stream_.current())));
    }
    SHIRA_RETURN_IF_ERROR(stream_.ExpectOperator(","));
    is_tuple = true;
    items.push_back(std::move(parts[0]));
    if (stream_.current().IsOperator("]")) {
      return SyntaxError(stream_.current().position, "expected an expression, found ']'");
    }
  }
  SHIRA_RETURN_IF_ERROR(stream_.ExpectOperator("]"));
  if (colons > 0) {
    if (is_tuple) return SyntaxError(opener.position, "a slice inside of a tuple");
    return Make(opener.position, Slice{std::move(object), std::move(parts[0]), std::move(parts[1]),
                                       std::move(parts[2])});
  }
  ExpressionPtr index = std::move(parts[0]);
  if (is_tuple) {
    if (index != nullptr) items.push_back(std::move(index));
    SHIRA_ASSIGN_OR_RETURN(index, Make(opener.position, TupleLiteral{std::move(items)}));
  }
  return Make(opener.position, Subscript{std::move(object), std::move(index)});
}

absl::StatusOr<ExpressionPtr> ExpressionParser::ParseCall(ExpressionPtr callee) {
  const Position position = stream_.current().position;
  if (const auto* name = std::get_if<Name>(&callee->node)) {
    names_.OnCall(name->name, callee->position);
  }
  SHIRA_ASSIGN_OR_RETURN(ArgumentList arguments, ParseArguments());
  return Make(position, Call{std::move(callee), std::move(arguments)});
}

absl::StatusOr<ArgumentList> ExpressionParser::ParseArguments() {
  const Position position = stream_.current().position;
  SHIRA_RETURN_IF_ERROR(stream_.ExpectOperator("("));
  const absl::Status out_of_order =
      SyntaxError(position, "arguments in an order that is not valid");
  ArgumentList arguments;
  bool first = true;
  while (!stream_.current().IsOperator(")")) {
    if (!first) {
      SHIRA_RETURN_IF_ERROR(stream_.ExpectOperator(","));
      if (stream_.current().IsOperator(")")) break;
    }
    first = false;
    if (stream_.SkipOperator("*")) {
      if (arguments.all_positional != nullptr || arguments.all_named != nullptr) {
        return out_of_order;
      }
      SHIRA_ASSIGN_OR_RETURN(arguments.all_positional, Parse());
    } else if (stream_.SkipOperator("**")) {
      if (arguments.all_named != nullptr) return out_of_order;
      SHIRA_ASSIGN_OR_RETURN(arguments.all_named, Parse());
    } else if (stream_.current().kind == Token::Kind::kName && stream_.ahead().IsOperator("=")) {
      if (arguments.all_named != nullptr) return out_of_order;
      const Token name = stream_.Take();
      stream_.Take();
      const auto same_name = [&](const auto& argument) { return argument.first == name.text; };
      if (std::any_of(arguments.named.begin(), arguments.named.end(), same_name)) {
        return SyntaxError(name.position, StrCat("the argument '", name.text, "' is given twice"));
      }
      SHIRA_ASSIGN_OR_RETURN(ExpressionPtr value, Parse());
      arguments.named.emplace_back(name.text, std::move(value));
    } else {
      if (arguments.all_positional != nullptr || arguments.all_named != nullptr ||
          !arguments.named.empty()) {
        return out_of_order;
      }
      SHIRA_ASSIGN_OR_RETURN(ExpressionPtr value, Parse());
      arguments.positional.push_back(std::move(value));
    }
  }
  stream_.Take();
  return arguments;
}

absl::StatusOr<std::string> ExpressionParser::ParseDottedName() {
  SHIRA_ASSIGN_OR_RETURN(std::string name, stream_.TakeName());
  while (stream_.SkipOperator(".")) {
    SHIRA_ASSIGN_OR_RETURN(const std::string part, stream_.TakeName());
    StrAppend(&name, ".", part);
  }
  return name;
}

absl::StatusOr<ExpressionPtr> ExpressionParser::ParseFilters(ExpressionPtr input,
                                                             bool starts_inline) {
  while (starts_inline || stream_.SkipOperator("|")) {
    starts_inline = false;
    const Position position = stream_.current().position;
    SHIRA_ASSIGN_OR_RETURN(const std::string name, ParseDottedName());
    const BuiltinEntry* filter = Filters().Find(name);
    if (filter == nullptr) {
      return At(position, absl::UnimplementedError(StrCat("unknown filter '", name, "'")));
    }
    ArgumentList arguments;
    if (stream_.current().IsOperator("(")) {
      SHIRA_ASSIGN_OR_RETURN(arguments, ParseArguments());
    }
    SHIRA_RETURN_IF_ERROR(CheckNamedBuiltin(name, arguments, position));
    SHIRA_ASSIGN_OR_RETURN(
        input, Make(position, FilterCall{filter, std::move(input), std::move(arguments)}));
  }
  return input;
}

absl::StatusOr<ExpressionPtr> ExpressionParser::ParseTest(ExpressionPtr input) {
  const Position position = stream_.Take().position;
  const bool negated = stream_.SkipName("not");
  const Position name_position = stream_.current().position;
  SHIRA_ASSIGN_OR_RETURN(const std::string name, ParseDottedName());
  const BuiltinEntry* test = Tests().Find(name);
  if (test == nullptr) {
    return At(name_position, absl::UnimplementedError(StrCat("unknown test '", name, "'")));
  }
  ArgumentList arguments;
  const Token& token = stream_.current();
  const bool starts_argument =
      token.kind == Token::Kind::kName || token.kind == Token::Kind::kString ||
      token.kind == Token::Kind::kInteger || token.kind == Token::Kind::kFloat ||
      token.IsOperator("[") || token.IsOperator("{");
  if (token.IsOperator("(")) {
    SHIRA_ASSIGN_OR_RETURN(arguments, ParseArguments());
  } else if (starts_argument && !token.IsName("else") && !token.IsName("or") &&
             !token.IsName("and")) {
    if (token.IsName("is")) {
      return SyntaxError(token.position, "tests cannot be chained with 'is'");
    }
    SHIRA_ASSIGN_OR_RETURN(ExpressionPtr argument, ParsePrimary());
    SHIRA_ASSIGN_OR_RETURN(argument, ParsePostfix(std::move(argument)));
    arguments.positional.push_back(std::move(argument));
  }
  SHIRA_ASSIGN_OR_RETURN(ExpressionPtr result,
                         Make(position, TestCall{test, std::move(input), std::move(arguments)}));
  if (!negated) return result;
  return Make(position, Not{std::move(result)});
}

}  // namespace shira::jinja
