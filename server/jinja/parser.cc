#include "server/jinja/parser.h"

#include <algorithm>
#include <array>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_join.h"
#include "base/status_macros.h"
#include "base/strings.h"
#include "server/jinja/builtins.h"
#include "server/jinja/expression_parser.h"
#include "server/jinja/limits.h"

namespace shira::jinja {
namespace {

// What the text tells about the names: which special parameters each open macro mentions, and which
// functions are called.
class Names : public NameObserver {
 public:
  void OnRead(const std::string& name, const Position& position) override {
    reads_.emplace(name, position);
    for (OpenMacro& macro : macros_) {
      if (macro.hidden.count(name) == 0) macro.read.insert(name);
    }
  }

  void OnCall(const std::string& name, const Position& position) override {
    calls_.emplace_back(name, position);
  }

  void OnWrite(const std::string& name) {
    written_.insert(name);
    for (OpenMacro& macro : macros_) macro.hidden.insert(name);
  }

  void BeginMacroBody() { macros_.emplace_back(); }

  void EndMacroBody(MacroDefinition& macro) {
    const std::set<std::string>& read = macros_.back().read;
    macro.uses_caller = read.count("caller") > 0;
    macro.uses_kwargs = read.count("kwargs") > 0;
    macro.uses_varargs = read.count("varargs") > 0;
    macros_.pop_back();
  }

  // UNIMPLEMENTED for the first call of a function that is neither known nor defined by the
  // template.
  absl::Status CheckCalls() const {
    static constexpr std::array<std::string_view, 4> kImplicit = {"caller", "loop", "kwargs",
                                                                  "varargs"};
    for (const auto& [name, position] : calls_) {
      if (GlobalFunctions().Find(name) != nullptr || written_.count(name) > 0 ||
          std::find(kImplicit.begin(), kImplicit.end(), name) != kImplicit.end()) {
        continue;
      }
      return At(position, absl::UnimplementedError(StrCat("unknown function '", name, "'")));
    }
    return absl::OkStatus();
  }

  // UNIMPLEMENTED for a name that jinja2 defines and this program does not, unless the template
  // does: it would count as undefined, and print nothing.
  absl::Status CheckReads() const {
    for (const char* name : {"self", "lipsum"}) {
      const auto read = reads_.find(name);
      if (read == reads_.end() || written_.count(name) > 0) continue;
      return At(read->second, absl::UnimplementedError(StrCat("unknown name '", name, "'")));
    }
    return absl::OkStatus();
  }

 private:
  struct OpenMacro {
    std::set<std::string> read;
    std::set<std::string> hidden;  // written before they are read
  };
  std::vector<OpenMacro> macros_;
  std::map<std::string, Position> reads_;  // the first of each
  std::set<std::string> written_;
  std::vector<std::pair<std::string, Position>> calls_;
};

using NodeOr = absl::StatusOr<Statement::Node>;

class Parser {
 public:
  explicit Parser(std::vector<Token> tokens)
      : stream_(std::move(tokens)), expressions_(stream_, names_) {}

  absl::StatusOr<Block> Run() {
    SHIRA_ASSIGN_OR_RETURN(Block block, ParseUntil({}));
    SHIRA_RETURN_IF_ERROR(names_.CheckCalls());
    SHIRA_RETURN_IF_ERROR(names_.CheckReads());
    return block;
  }

 private:
  using EndNames = std::vector<std::string>;

  // Statements up to a tag of one of those names, which is left to be read. Without names: up to
  // the end of the template.
  absl::StatusOr<Block> ParseUntil(const EndNames& end_names) {
    if (depth_ >= kMaxBlockDepth) {
      return At(stream_.current().position,
                absl::ResourceExhaustedError(
                    StrCat("blocks nested in more than ", kMaxBlockDepth, " levels")));
    }
    ++depth_;
    absl::StatusOr<Block> block = ParseStatements(end_names);
    --depth_;
    return block;
  }

  absl::StatusOr<Block> ParseStatements(const EndNames& end_names) {
    Block block;
    while (true) {
      const Token token = stream_.Take();
      auto statement = std::make_unique<Statement>();
      statement->position = token.position;
      if (token.kind == Token::Kind::kEnd) {
        if (end_names.empty()) return block;
        return SyntaxError(token.position, StrCat("the template ends where '",
                                                  absl::StrJoin(end_names, "' or '"), "' is due"));
      }
      if (token.kind == Token::Kind::kText) {
        statement->node = Text{token.text};
      } else if (token.kind == Token::Kind::kVariableBegin) {
        SHIRA_ASSIGN_OR_RETURN(ExpressionPtr value, expressions_.ParseTuple());
        SHIRA_RETURN_IF_ERROR(stream_.Expect(Token::Kind::kVariableEnd));
        statement->node = Print{std::move(value)};
      } else {
        const Token& name = stream_.current();
        if (name.kind == Token::Kind::kName &&
            std::find(end_names.begin(), end_names.end(), name.text) != end_names.end()) {
          return block;
        }
        SHIRA_ASSIGN_OR_RETURN(statement->node, ParseTag(block));
        SHIRA_RETURN_IF_ERROR(stream_.Expect(Token::Kind::kBlockEnd));
      }
      block.push_back(std::move(statement));
    }
  }

  // The rest of an opening tag, the body, and the name of the closing tag, which is consumed only
  // if `take_end`.
  absl::StatusOr<Block> ParseBody(const EndNames& end_names, bool take_end = true) {
    stream_.SkipOperator(":");
    SHIRA_RETURN_IF_ERROR(stream_.Expect(Token::Kind::kBlockEnd));
    SHIRA_ASSIGN_OR_RETURN(Block body, ParseUntil(end_names));
    if (take_end) stream_.Take();
    return body;
  }

  NodeOr ParseTag(Block& block) {
    struct Tag {
      std::string_view name;
      NodeOr (Parser::*parse)();
    };
    static constexpr std::array<Tag, 10> kTags = {{
        {"if", &Parser::ParseIf},
        {"for", &Parser::ParseFor},
        {"set", &Parser::ParseSet},
        {"macro", &Parser::ParseMacro},
        {"call", &Parser::ParseCallBlock},
        {"filter", &Parser::ParseFilterBlock},
        {"with", &Parser::ParseWith},
        {"generation", &Parser::ParseGeneration},
        {"break", &Parser::ParseLoopControl},
        {"continue", &Parser::ParseLoopControl},
    }};
    static constexpr std::array<std::string_view, 13> kInner = {
        "elif",      "else",    "endif",         "endfor", "endset", "endmacro", "endcall",
        "endfilter", "endwith", "endgeneration", "endraw", "raw",    "endblock"};
    const Token token = stream_.current();
    if (token.kind != Token::Kind::kName) {
      return SyntaxError(token.position, StrCat("expected a tag, found ", Describe(token)));
    }
    if (token.text == "print") return ParsePrint(block);
    for (const Tag& tag : kTags) {
      if (tag.name == token.text) return (this->*tag.parse)();
    }
    if (std::find(kInner.begin(), kInner.end(), token.text) != kInner.end()) {
      return SyntaxError(token.position, StrCat("the tag '", token.text, "' is not due here"));
    }
    return At(token.position, absl::UnimplementedError(StrCat("unknown tag '", token.text, "'")));
  }

  NodeOr ParseIf() {
    If node;
    do {
      stream_.Take();
      SHIRA_ASSIGN_OR_RETURN(ExpressionPtr condition, expressions_.ParseTuple(false));
      SHIRA_ASSIGN_OR_RETURN(Block body, ParseBody({"elif", "else", "endif"}, false));
      node.branches.emplace_back(std::move(condition), std::move(body));
    } while (stream_.current().IsName("elif"));
    if (stream_.Take().text == "else") {
      SHIRA_ASSIGN_OR_RETURN(node.otherwise, ParseBody({"endif"}));
    }
    return node;
  }

  NodeOr ParseFor() {
    const Position position = stream_.Take().position;
    For node;
    ++for_depth_;
    SHIRA_ASSIGN_OR_RETURN(node.target, ParseTarget(false));
    --for_depth_;
    SHIRA_RETURN_IF_ERROR(stream_.ExpectName("in"));
    SHIRA_ASSIGN_OR_RETURN(node.iterable, expressions_.ParseTuple(false));
    if (stream_.SkipName("if")) {
      SHIRA_ASSIGN_OR_RETURN(node.condition, expressions_.Parse());
    }
    if (stream_.current().IsName("recursive")) {
      return At(position, absl::UnimplementedError("a recursive loop"));
    }
    ++for_depth_;
    ++loop_depth_;
    SHIRA_ASSIGN_OR_RETURN(node.body, ParseBody({"endfor", "else"}, false));
    --loop_depth_;
    if (stream_.Take().text == "else") {
      SHIRA_ASSIGN_OR_RETURN(node.otherwise, ParseBody({"endfor"}));
    }
    --for_depth_;
    return node;
  }

  NodeOr ParseLoopControl() {
    const Token token = stream_.Take();
    if (loop_depth_ == 0) {
      return SyntaxError(token.position, StrCat("'", token.text, "' outside of a loop"));
    }
    if (token.text == "break") return Break{};
    return Continue{};
  }

  NodeOr ParseSet() {
    stream_.Take();
    SHIRA_ASSIGN_OR_RETURN(Target target, ParseTarget(true));
    if (stream_.SkipOperator("=")) {
      SHIRA_ASSIGN_OR_RETURN(ExpressionPtr value, expressions_.ParseTuple());
      return Set{std::move(target), std::move(value)};
    }
    SetBlock node;
    node.target = std::move(target);
    SHIRA_ASSIGN_OR_RETURN(node.filter, expressions_.ParseFilters(nullptr));
    SHIRA_ASSIGN_OR_RETURN(node.body, ParseBody({"endset"}));
    return node;
  }

  NodeOr ParseWith() {
    stream_.Take();
    With node;
    while (stream_.current().kind != Token::Kind::kBlockEnd) {
      if (!node.assignments.empty()) SHIRA_RETURN_IF_ERROR(stream_.ExpectOperator(","));
      SHIRA_ASSIGN_OR_RETURN(Target target, ParseTarget(false));
      SHIRA_RETURN_IF_ERROR(stream_.ExpectOperator("="));
      SHIRA_ASSIGN_OR_RETURN(ExpressionPtr value, expressions_.Parse());
      node.assignments.emplace_back(std::move(target), std::move(value));
    }
    SHIRA_ASSIGN_OR_RETURN(node.body, ParseBody({"endwith"}));
    return node;
  }

  NodeOr ParseFilterBlock() {
    stream_.Take();
    FilterBlock node;
    SHIRA_ASSIGN_OR_RETURN(node.filter, expressions_.ParseFilters(nullptr, true));
    SHIRA_ASSIGN_OR_RETURN(node.body, ParseBody({"endfilter"}));
    return node;
  }

  NodeOr ParseGeneration() {
    stream_.Take();
    Generation node;
    const int outer_loops = std::exchange(loop_depth_, 0);
    SHIRA_ASSIGN_OR_RETURN(node.body, ParseBody({"endgeneration"}));
    loop_depth_ = outer_loops;
    return node;
  }

  NodeOr ParseMacro() {
    stream_.Take();
    DefineMacro node;
    const Position position = stream_.current().position;
    SHIRA_ASSIGN_OR_RETURN(node.macro.name, stream_.TakeName());
    SHIRA_RETURN_IF_ERROR(CheckAssignable(node.macro.name, position));
    names_.OnWrite(node.macro.name);
    SHIRA_RETURN_IF_ERROR(ParseSignature(node.macro));
    SHIRA_RETURN_IF_ERROR(ParseMacroBody("endmacro", node.macro));
    return node;
  }

  NodeOr ParseCallBlock() {
    const Position position = stream_.Take().position;
    CallBlock node;
    if (stream_.current().IsOperator("(")) {
      SHIRA_RETURN_IF_ERROR(ParseSignature(node.caller));
    }
    SHIRA_ASSIGN_OR_RETURN(node.call, expressions_.Parse());
    if (!std::holds_alternative<Call>(node.call->node)) {
      return SyntaxError(position, "expected a call after 'call'");
    }
    SHIRA_RETURN_IF_ERROR(ParseMacroBody("endcall", node.caller));
    return node;
  }

  absl::Status ParseSignature(MacroDefinition& macro) {
    SHIRA_RETURN_IF_ERROR(stream_.ExpectOperator("("));
    while (!stream_.current().IsOperator(")")) {
      if (!macro.parameters.empty()) SHIRA_RETURN_IF_ERROR(stream_.ExpectOperator(","));
      const Position position = stream_.current().position;
      SHIRA_ASSIGN_OR_RETURN(std::string name, stream_.TakeName());
      SHIRA_RETURN_IF_ERROR(CheckAssignable(name, position));
      if (name == "caller" || name == "kwargs" || name == "varargs") {
        return At(position,
                  absl::UnimplementedError(StrCat("a macro parameter of the name '", name, "'")));
      }
      if (std::find(macro.parameters.begin(), macro.parameters.end(), name) !=
          macro.parameters.end()) {
        return SyntaxError(position, StrCat("the parameter '", name, "' is given twice"));
      }
      names_.OnWrite(name);
      if (stream_.SkipOperator("=")) {
        SHIRA_ASSIGN_OR_RETURN(ExpressionPtr value, expressions_.Parse());
        macro.defaults.push_back(std::move(value));
      } else if (!macro.defaults.empty()) {
        return SyntaxError(position, "a parameter without a default after one with a default");
      }
      macro.parameters.push_back(std::move(name));
    }
    stream_.Take();
    return absl::OkStatus();
  }

  absl::Status ParseMacroBody(const std::string& end_name, MacroDefinition& macro) {
    names_.BeginMacroBody();
    const int outer_loops = std::exchange(loop_depth_, 0);
    SHIRA_ASSIGN_OR_RETURN(macro.body, ParseBody({end_name}));
    loop_depth_ = outer_loops;
    names_.EndMacroBody(macro);
    return absl::OkStatus();
  }

  // {% print a, b %} is {{ a }}{{ b }}: all but the last go straight into the block.
  NodeOr ParsePrint(Block& block) {
    stream_.Take();
    Statement::Node last = Text{};
    while (stream_.current().kind != Token::Kind::kBlockEnd) {
      const Position position = stream_.current().position;
      if (auto* print = std::get_if<Print>(&last)) {
        SHIRA_RETURN_IF_ERROR(stream_.ExpectOperator(","));
        auto statement = std::make_unique<Statement>();
        statement->position = position;
        statement->node = std::move(*print);
        block.push_back(std::move(statement));
      }
      SHIRA_ASSIGN_OR_RETURN(ExpressionPtr value, expressions_.Parse());
      last = Print{std::move(value)};
    }
    return last;
  }

  absl::Status CheckAssignable(const std::string& name, const Position& position) const {
    static constexpr std::array<std::string_view, 6> kConstants = {"true", "false", "none",
                                                                   "True", "False", "None"};
    if (std::find(kConstants.begin(), kConstants.end(), name) == kConstants.end()) {
      return absl::OkStatus();
    }
    return SyntaxError(position, StrCat("cannot assign to '", name, "'"));
  }

  // Names and tuples of them, with or without parentheses.
  absl::StatusOr<Target> ParseTarget(bool with_namespace) {
    const Position position = stream_.current().position;
    const auto at_end = [&] {
      const Token& token = stream_.current();
      return token.kind == Token::Kind::kBlockEnd || token.IsOperator(")");
    };
    Target tuple;
    tuple.position = position;
    while (!at_end()) {
      SHIRA_ASSIGN_OR_RETURN(Target target, ParseSingleTarget(with_namespace));
      tuple.targets.push_back(std::move(target));
      if (!stream_.SkipOperator(",")) break;
      tuple.is_tuple = true;
    }
    if (tuple.is_tuple) return tuple;
    if (tuple.targets.size() == 1) return std::move(tuple.targets[0]);
    return SyntaxError(position,
                       StrCat("expected a name to assign to, found ", Describe(stream_.current())));
  }

  absl::StatusOr<Target> ParseSingleTarget(bool with_namespace) {
    Target target;
    target.position = stream_.current().position;
    if (stream_.SkipOperator("(")) {
      if (++target_depth_ > kMaxBlockDepth) {
        return At(target.position, absl::ResourceExhaustedError("a target that is nested deeply"));
      }
      SHIRA_ASSIGN_OR_RETURN(target, ParseTarget(false));
      --target_depth_;
      SHIRA_RETURN_IF_ERROR(stream_.ExpectOperator(")"));
      return target;
    }
    SHIRA_ASSIGN_OR_RETURN(target.name, stream_.TakeName());
    SHIRA_RETURN_IF_ERROR(CheckAssignable(target.name, target.position));
    if (with_namespace && stream_.SkipOperator(".")) {
      SHIRA_ASSIGN_OR_RETURN(target.attribute, stream_.TakeName());
      names_.OnRead(target.name, target.position);
      return target;
    }
    if (for_depth_ > 0 && target.name == "loop") {
      return SyntaxError(target.position, "cannot assign to 'loop' inside of a loop");
    }
    names_.OnWrite(target.name);
    return target;
  }

  TokenStream stream_;
  Names names_;
  ExpressionParser expressions_;
  int depth_ = 0;
  int target_depth_ = 0;
  int for_depth_ = 0;   // loops around, across macros: the name 'loop' is theirs
  int loop_depth_ = 0;  // loops around that break and continue reach
};

}  // namespace

absl::StatusOr<Block> ParseTemplate(std::string_view source) {
  SHIRA_ASSIGN_OR_RETURN(std::vector<Token> tokens, Tokenize(source));
  return Parser(std::move(tokens)).Run();
}

}  // namespace shira::jinja
