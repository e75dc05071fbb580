#include "server/jinja/evaluator.h"

#include <algorithm>
#include <optional>

#include "base/status_macros.h"
#include "base/strings.h"
#include "server/jinja/access.h"
#include "server/jinja/operators.h"

namespace shira::jinja {
namespace {

absl::Status Named(std::string_view name, const absl::Status& status) {
  return absl::Status(status.code(), StrCat(name, ": ", status.message()));
}

}  // namespace

Evaluator::~Evaluator() {
  for (const std::shared_ptr<Namespace>& ns : namespaces_) ns->Clear();
}

absl::Status Evaluator::Level::Check() const {
  if (evaluator_.depth_ > kMaxEvaluationDepth) {
    return absl::ResourceExhaustedError(
        StrCat("the template nests evaluations in more than ", kMaxEvaluationDepth, " levels"));
  }
  return evaluator_.budget_.Spend(1);
}

absl::Status Evaluator::Locate(const Position& position, const absl::Status& status) {
  if (status.ok() || located_) return status;
  located_ = true;
  return At(position, status);
}

Value Evaluator::NewNamespace(Dict attributes) {
  namespaces_.push_back(std::make_shared<Namespace>(std::move(attributes)));
  return Value::FromObject(namespaces_.back());
}

absl::StatusOr<Value> Evaluator::CallBuiltin(const BuiltinEntry& entry, const Value& subject,
                                             Arguments arguments) {
  const Level level(*this);
  SHIRA_RETURN_IF_ERROR(level.Check());
  size_t bytes = ShallowBytes(subject);
  for (const Value& argument : arguments.positional) bytes += ShallowBytes(argument);
  SHIRA_RETURN_IF_ERROR(budget_.SpendBytes(bytes));
  const absl::StatusOr<BoundArguments> bound = Bind(entry, std::move(arguments));
  if (!bound.ok()) return Named(entry.name, bound.status());
  absl::StatusOr<Value> result = entry.function(*this, subject, *bound);
  if (!result.ok()) {
    return located_ ? result.status() : Named(entry.name, result.status());
  }
  SHIRA_RETURN_IF_ERROR(budget_.SpendBytes(ShallowBytes(*result)));
  return result;
}

absl::StatusOr<Value> Evaluator::Evaluate(const Expression& expression, Scope& scope) {
  absl::StatusOr<Value> value = EvaluateNode(expression, scope);
  if (!value.ok()) return Locate(expression.position, value.status());
  return value;
}

absl::StatusOr<Value> Evaluator::EvaluateNode(const Expression& expression, Scope& scope) {
  const Level level(*this);
  SHIRA_RETURN_IF_ERROR(level.Check());
  absl::StatusOr<Value> value =
      std::visit([&](const auto& node) { return Visit(node, scope); }, expression.node);
  if (value.ok() && value->depth() > kMaxValueDepth) {
    return absl::ResourceExhaustedError(
        StrCat("a value nested in more than ", kMaxValueDepth, " levels"));
  }
  return value;
}

absl::StatusOr<Value> Evaluator::Visit(const Constant& node, Scope&) { return node.value; }

absl::StatusOr<Value> Evaluator::Visit(const Name& node, Scope& scope) {
  if (const Value* found = scope.Find(node.name)) return *found;
  if (const BuiltinEntry* function = GlobalFunctions().Find(node.name)) {
    return Value::FromObject(std::make_shared<Function>(function, Value::None()));
  }
  return Value::Undefined(StrCat("'", node.name, "' is undefined"));
}

absl::StatusOr<std::vector<Value>> Evaluator::EvaluateAll(
    const std::vector<ExpressionPtr>& expressions, Scope& scope) {
  std::vector<Value> values;
  values.reserve(expressions.size());
  for (const ExpressionPtr& expression : expressions) {
    SHIRA_ASSIGN_OR_RETURN(Value value, Evaluate(*expression, scope));
    values.push_back(std::move(value));
  }
  return values;
}

absl::StatusOr<Value> Evaluator::Visit(const ListLiteral& node, Scope& scope) {
  SHIRA_ASSIGN_OR_RETURN(std::vector<Value> items, EvaluateAll(node.items, scope));
  return Value::List(std::move(items));
}

absl::StatusOr<Value> Evaluator::Visit(const TupleLiteral& node, Scope& scope) {
  SHIRA_ASSIGN_OR_RETURN(std::vector<Value> items, EvaluateAll(node.items, scope));
  return Value::Tuple(std::move(items));
}

absl::StatusOr<Value> Evaluator::Visit(const DictLiteral& node, Scope& scope) {
  Dict dict;
  for (const auto& [key_expression, value_expression] : node.entries) {
    SHIRA_ASSIGN_OR_RETURN(Value key, Evaluate(*key_expression, scope));
    SHIRA_ASSIGN_OR_RETURN(Value value, Evaluate(*value_expression, scope));
    SHIRA_RETURN_IF_ERROR(dict.Set(std::move(key), std::move(value)));
  }
  return Value::FromDict(std::move(dict));
}

absl::StatusOr<Value> Evaluator::Visit(const Binary& node, Scope& scope) {
  SHIRA_ASSIGN_OR_RETURN(const Value left, Evaluate(*node.left, scope));
  SHIRA_ASSIGN_OR_RETURN(const Value right, Evaluate(*node.right, scope));
  return Apply(node.op, left, right, budget_);
}

absl::StatusOr<Value> Evaluator::Visit(const Sign& node, Scope& scope) {
  SHIRA_ASSIGN_OR_RETURN(const Value operand, Evaluate(*node.operand, scope));
  return ApplySign(node.negative, operand);
}

absl::StatusOr<Value> Evaluator::Visit(const Not& node, Scope& scope) {
  SHIRA_ASSIGN_OR_RETURN(const Value operand, Evaluate(*node.operand, scope));
  return Value::Bool(!Truthy(operand));
}

absl::StatusOr<Value> Evaluator::Visit(const Logical& node, Scope& scope) {
  SHIRA_ASSIGN_OR_RETURN(Value left, Evaluate(*node.left, scope));
  if (Truthy(left) != node.is_and) return left;
  return Evaluate(*node.right, scope);
}

absl::StatusOr<Value> Evaluator::Visit(const ComparisonChain& node, Scope& scope) {
  SHIRA_ASSIGN_OR_RETURN(Value left, Evaluate(*node.first, scope));
  for (const auto& [op, operand] : node.rest) {
    SHIRA_ASSIGN_OR_RETURN(Value right, Evaluate(*operand, scope));
    SHIRA_ASSIGN_OR_RETURN(const bool holds, Compare(op, left, right, budget_));
    if (!holds) return Value::Bool(false);
    left = std::move(right);
  }
  return Value::Bool(true);
}

absl::StatusOr<Value> Evaluator::Visit(const Concatenation& node, Scope& scope) {
  SHIRA_ASSIGN_OR_RETURN(const std::vector<Value> parts, EvaluateAll(node.parts, scope));
  std::string text;
  for (const Value& part : parts) {
    SHIRA_ASSIGN_OR_RETURN(const std::string piece, Str(part));
    SHIRA_RETURN_IF_ERROR(budget_.SpendBytes(piece.size()));
    text += piece;
    SHIRA_RETURN_IF_ERROR(CheckStringBytes(text.size()));
  }
  return Value::String(std::move(text));
}

absl::StatusOr<Value> Evaluator::Visit(const Conditional& node, Scope& scope) {
  SHIRA_ASSIGN_OR_RETURN(const Value condition, Evaluate(*node.condition, scope));
  if (Truthy(condition)) return Evaluate(*node.then, scope);
  if (node.otherwise != nullptr) return Evaluate(*node.otherwise, scope);
  return Value::Undefined("the condition of an 'if' without 'else' is false");
}

absl::StatusOr<Value> Evaluator::Visit(const FilterCall& node, Scope& scope) {
  SHIRA_ASSIGN_OR_RETURN(const Value input, Evaluate(*node.input, scope));
  SHIRA_ASSIGN_OR_RETURN(Arguments arguments, EvaluateArguments(node.arguments, scope));
  return CallBuiltin(*node.filter, input, std::move(arguments));
}

absl::StatusOr<Value> Evaluator::EvaluateFilter(const Expression& expression, const Value& input,
                                                Scope& scope) {
  const auto& node = std::get<FilterCall>(expression.node);
  Value inner = input;
  if (node.input != nullptr) {
    SHIRA_ASSIGN_OR_RETURN(inner, EvaluateFilter(*node.input, input, scope));
  }
  SHIRA_ASSIGN_OR_RETURN(Arguments arguments, EvaluateArguments(node.arguments, scope));
  absl::StatusOr<Value> result = CallBuiltin(*node.filter, inner, std::move(arguments));
  if (!result.ok()) return Locate(expression.position, result.status());
  return result;
}

absl::StatusOr<Value> Evaluator::Visit(const TestCall& node, Scope& scope) {
  SHIRA_ASSIGN_OR_RETURN(const Value input, Evaluate(*node.input, scope));
  SHIRA_ASSIGN_OR_RETURN(Arguments arguments, EvaluateArguments(node.arguments, scope));
  return CallBuiltin(*node.test, input, std::move(arguments));
}

absl::StatusOr<Value> Evaluator::Visit(const Attribute& node, Scope& scope) {
  SHIRA_ASSIGN_OR_RETURN(const Value object, Evaluate(*node.object, scope));
  return GetAttribute(object, node.name, budget_);
}

absl::StatusOr<Value> Evaluator::Visit(const Subscript& node, Scope& scope) {
  SHIRA_ASSIGN_OR_RETURN(const Value object, Evaluate(*node.object, scope));
  SHIRA_ASSIGN_OR_RETURN(const Value index, Evaluate(*node.index, scope));
  return GetItem(object, index, budget_);
}

absl::StatusOr<Value> Evaluator::EvaluateOrNone(const ExpressionPtr& expression, Scope& scope) {
  if (expression == nullptr) return Value::None();
  return Evaluate(*expression, scope);
}

absl::StatusOr<Value> Evaluator::Visit(const Slice& node, Scope& scope) {
  SHIRA_ASSIGN_OR_RETURN(const Value object, Evaluate(*node.object, scope));
  SHIRA_ASSIGN_OR_RETURN(const Value start, EvaluateOrNone(node.start, scope));
  SHIRA_ASSIGN_OR_RETURN(const Value stop, EvaluateOrNone(node.stop, scope));
  SHIRA_ASSIGN_OR_RETURN(const Value step, EvaluateOrNone(node.step, scope));
  return GetSlice(object, start, stop, step, budget_);
}

absl::StatusOr<Value> Evaluator::Visit(const Call& node, Scope& scope) {
  return EvaluateCall(node, scope, nullptr);
}

absl::StatusOr<Arguments> Evaluator::EvaluateArguments(const ArgumentList& list, Scope& scope) {
  Arguments arguments;
  SHIRA_ASSIGN_OR_RETURN(arguments.positional, EvaluateAll(list.positional, scope));
  for (const auto& [name, expression] : list.named) {
    SHIRA_ASSIGN_OR_RETURN(Value value, Evaluate(*expression, scope));
    arguments.named.emplace_back(name, std::move(value));
  }
  if (list.all_positional != nullptr) {
    SHIRA_ASSIGN_OR_RETURN(const Value all, Evaluate(*list.all_positional, scope));
    SHIRA_ASSIGN_OR_RETURN(const std::vector<Value> values, ToVector(all, budget_));
    arguments.positional.insert(arguments.positional.end(), values.begin(), values.end());
  }
  if (list.all_named != nullptr) {
    SHIRA_ASSIGN_OR_RETURN(const Value all, Evaluate(*list.all_named, scope));
    if (all.kind() != Kind::kDict) {
      return absl::InvalidArgumentError(
          StrCat("the argument after ** must be a mapping, found '", TypeName(all), "'"));
    }
    for (const auto& [key, value] : all.dict().entries()) {
      if (!key.is_string()) return absl::InvalidArgumentError("a keyword that is no string");
      const auto same = [&key = key](const auto& named) { return named.first == key.text(); };
      if (std::any_of(arguments.named.begin(), arguments.named.end(), same)) {
        return absl::InvalidArgumentError(StrCat("the argument '", key.text(), "' is given twice"));
      }
      arguments.named.emplace_back(key.text(), value);
    }
  }
  return arguments;
}

absl::StatusOr<Value> Evaluator::EvaluateCall(const Call& call, Scope& scope, const Value* caller) {
  SHIRA_ASSIGN_OR_RETURN(const Value callee, Evaluate(*call.callee, scope));
  SHIRA_ASSIGN_OR_RETURN(Arguments arguments, EvaluateArguments(call.arguments, scope));
  if (caller != nullptr) arguments.named.emplace_back("caller", *caller);
  return CallValue(callee, std::move(arguments));
}

absl::StatusOr<Value> Evaluator::CallValue(const Value& callee, Arguments arguments) {
  if (callee.is_undefined()) return UndefinedError(callee);
  if (const auto function = callee.As<Function>()) {
    SHIRA_ASSIGN_OR_RETURN(
        Value result, CallBuiltin(function->entry(), function->receiver(), std::move(arguments)));
    return MarkAs(function->receiver(), std::move(result));
  }
  if (const auto macro = callee.As<Macro>()) return CallMacro(*macro, std::move(arguments));
  if (const auto joiner = callee.As<Joiner>();
      joiner != nullptr && arguments.positional.empty() && arguments.named.empty()) {
    return joiner->Join();
  }
  return absl::InvalidArgumentError(
      StrCat("'", TypeName(callee), "' object is not callable like this"));
}

absl::StatusOr<Value> Evaluator::CallMacro(const Macro& macro, Arguments arguments) {
  const MacroDefinition& definition = macro.definition();
  const std::string name = definition.name.empty() ? "caller" : definition.name;
  const size_t parameters = definition.parameters.size();
  const std::shared_ptr<Scope> scope = macro.scope().Inner();

  const auto take_named = [&arguments](std::string_view wanted) -> std::optional<Value> {
    for (auto it = arguments.named.begin(); it != arguments.named.end(); ++it) {
      if (it->first != wanted) continue;
      Value value = std::move(it->second);
      arguments.named.erase(it);
      return value;
    }
    return std::nullopt;
  };

  std::vector<std::optional<Value>> given(parameters);
  for (size_t i = 0; i < parameters; ++i) {
    const std::string& parameter = definition.parameters[i];
    given[i] = i < arguments.positional.size() ? std::optional<Value>(arguments.positional[i])
                                               : take_named(parameter);
    // A default sees the parameters before its own, and nothing of the same name outside.
    scope->Set(parameter, Value::Undefined(StrCat("'", parameter, "' is undefined")));
  }
  if (definition.uses_caller) {
    std::optional<Value> caller = take_named("caller");
    scope->Set("caller", caller ? *std::move(caller) : Value::Undefined("no caller is defined"));
  }
  if (definition.uses_kwargs) {
    Dict rest;
    for (auto& [key, value] : arguments.named) rest.Set(key, std::move(value));
    scope->Set("kwargs", Value::FromDict(std::move(rest)));
  } else if (!arguments.named.empty()) {
    return absl::InvalidArgumentError(
        StrCat("the macro '", name, "' takes no argument '", arguments.named.front().first, "'"));
  }
  std::vector<Value>& positional = arguments.positional;
  if (definition.uses_varargs) {
    const auto begin = positional.begin() + std::min(parameters, positional.size());
    scope->Set("varargs", Value::Tuple(std::vector<Value>(begin, positional.end())));
  } else if (positional.size() > parameters) {
    return absl::InvalidArgumentError(
        StrCat("the macro '", name, "' takes not more than ", parameters, " arguments"));
  }
  for (size_t i = 0; i < parameters; ++i) {
    const size_t without_default = parameters - definition.defaults.size();
    if (!given[i] && i >= without_default) {
      SHIRA_ASSIGN_OR_RETURN(given[i], Evaluate(*definition.defaults[i - without_default], *scope));
    }
    const std::string& parameter = definition.parameters[i];
    scope->Set(parameter,
               given[i] ? *std::move(given[i])
                        : Value::Undefined(StrCat("parameter '", parameter, "' was not provided")));
  }
  SHIRA_ASSIGN_OR_RETURN(std::string text, RenderMacro(definition, *scope));
  return Value::String(std::move(text));
}

}  // namespace shira::jinja
