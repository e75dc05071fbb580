// File: server/jinja/ast.h
//
// The parsed template. Immutable after parsing; names of filters, tests and global functions are
// resolved to their table entries.

#ifndef SHIRA_SERVER_JINJA_AST_H_
#define SHIRA_SERVER_JINJA_AST_H_

#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "server/jinja/lexer.h"  // Position
#include "server/jinja/value.h"

namespace shira::jinja {

struct BuiltinEntry;
struct Expression;
using ExpressionPtr =
    std::unique_ptr<const Expression>;  // nullptr: absent, where a field says "or nullptr"

struct ArgumentList {
  std::vector<ExpressionPtr> positional;
  std::vector<std::pair<std::string, ExpressionPtr>> named;
  ExpressionPtr all_positional;  // *expression, or nullptr
  ExpressionPtr all_named;       // **expression, or nullptr
};

struct Constant {
  Value value;
};
struct Name {
  std::string name;
};
struct ListLiteral {
  std::vector<ExpressionPtr> items;
};
struct TupleLiteral {
  std::vector<ExpressionPtr> items;
};
struct DictLiteral {
  std::vector<std::pair<ExpressionPtr, ExpressionPtr>> entries;
};
enum class BinaryOperator { kAdd, kSubtract, kMultiply, kDivide, kFloorDivide, kModulo, kPower };
struct Binary {
  BinaryOperator op;
  ExpressionPtr left;
  ExpressionPtr right;
};
struct Sign {
  bool negative;
  ExpressionPtr operand;
};
struct Not {
  ExpressionPtr operand;
};
struct Logical {
  bool is_and;
  ExpressionPtr left;
  ExpressionPtr right;
};
enum class Comparison {
  kEqual,
  kNotEqual,
  kLess,
  kLessOrEqual,
  kGreater,
  kGreaterOrEqual,
  kIn,
  kNotIn
};
// a < b < c
struct ComparisonChain {
  ExpressionPtr first;
  std::vector<std::pair<Comparison, ExpressionPtr>> rest;
};
// a ~ b ~ c
struct Concatenation {
  std::vector<ExpressionPtr> parts;
};
struct Conditional {
  ExpressionPtr condition;
  ExpressionPtr then;
  ExpressionPtr otherwise;  // or nullptr
};
struct FilterCall {
  const BuiltinEntry* filter;
  ExpressionPtr input;  // or nullptr: the text of the block that is filtered
  ArgumentList arguments;
};
struct TestCall {
  const BuiltinEntry* test;
  ExpressionPtr input;
  ArgumentList arguments;
};
struct Attribute {
  ExpressionPtr object;
  std::string name;
};
struct Subscript {
  ExpressionPtr object;
  ExpressionPtr index;
};
struct Slice {
  ExpressionPtr object;
  ExpressionPtr start;  // or nullptr, as the other two
  ExpressionPtr stop;
  ExpressionPtr step;
};
struct Call {
  ExpressionPtr callee;
  ArgumentList arguments;
};

struct Expression {
  using Node = std::variant<Constant, Name, ListLiteral, TupleLiteral, DictLiteral, Binary, Sign,
                            Not, Logical, ComparisonChain, Concatenation, Conditional, FilterCall,
                            TestCall, Attribute, Subscript, Slice, Call>;
  Position position;
  int depth = 1;  // levels of the tree from here down
  Node node;
};

// The depth of the deepest operand, 0 without any.
int ChildrenDepth(const Expression::Node& node);

struct Statement;
using Block = std::vector<std::unique_ptr<const Statement>>;

// What {% set %}, {% for %} and {% with %} assign to.
struct Target {
  Position position;
  std::string name;             // of the variable, or of the namespace
  std::string attribute;        // set: name.attribute
  bool is_tuple = false;        // the name is unused then
  std::vector<Target> targets;  // of a tuple
};

struct Text {
  std::string text;
};
struct Print {
  ExpressionPtr value;
};
struct If {
  std::vector<std::pair<ExpressionPtr, Block>> branches;  // if, elif, ...
  Block otherwise;
};
struct For {
  Target target;
  ExpressionPtr iterable;
  ExpressionPtr condition;  // or nullptr
  Block body;
  Block otherwise;
};
struct Break {};
struct Continue {};
struct Set {
  Target target;
  ExpressionPtr value;
};
struct SetBlock {
  Target target;
  ExpressionPtr filter;  // or nullptr; its innermost FilterCall has no input
  Block body;
};
struct With {
  std::vector<std::pair<Target, ExpressionPtr>> assignments;
  Block body;
};
struct FilterBlock {
  ExpressionPtr filter;
  Block body;
};
// {% generation %}: marks the assistant's text for training; here it is a scope and no more.
struct Generation {
  Block body;
};
struct MacroDefinition {
  std::string name;  // empty for the body of {% call %}
  std::vector<std::string> parameters;
  std::vector<ExpressionPtr> defaults;  // of the last parameters
  // Whether the body uses these, and so the macro accepts them.
  bool uses_caller = false;
  bool uses_kwargs = false;
  bool uses_varargs = false;
  Block body;
};
struct DefineMacro {
  MacroDefinition macro;
};
struct CallBlock {
  MacroDefinition caller;
  ExpressionPtr call;  // its node is a Call
};

struct Statement {
  using Node = std::variant<Text, Print, If, For, Break, Continue, Set, SetBlock, With, FilterBlock,
                            Generation, DefineMacro, CallBlock>;
  Position position;
  Node node;
};

}  // namespace shira::jinja

#endif  // SHIRA_SERVER_JINJA_AST_H_
