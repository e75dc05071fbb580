// The tests: what `is` applies.

#include <string>
#include <utility>

#include "base/status_macros.h"
#include "server/jinja/builtins.h"
#include "server/jinja/object.h"
#include "server/jinja/operators.h"
#include "server/jinja/text.h"

namespace shira::jinja {
namespace {

using Result = absl::StatusOr<Value>;

template <bool (*kPredicate)(const Value&)>
Result Is(Runtime&, const Value& subject, const BoundArguments&) {
  return Value::Bool(kPredicate(subject));
}

template <Comparison kOperator>
Result Compares(Runtime& runtime, const Value& subject, const BoundArguments& arguments) {
  SHIRA_ASSIGN_OR_RETURN(const bool result,
                         Compare(kOperator, subject, arguments.Required(0), runtime.budget()));
  return Value::Bool(result);
}

template <bool (*kPredicate)(std::string_view)>
Result TextIs(Runtime&, const Value& subject, const BoundArguments&) {
  SHIRA_ASSIGN_OR_RETURN(const std::string text, Str(subject));
  return Value::Bool(kPredicate(text));
}

Result LeavesRemainder(Runtime& runtime, const Value& subject, const Value& divisor,
                       int64_t remainder) {
  SHIRA_ASSIGN_OR_RETURN(const Value rest,
                         Apply(BinaryOperator::kModulo, subject, divisor, runtime.budget()));
  SHIRA_ASSIGN_OR_RETURN(const bool equal, Equals(rest, Value::Int(remainder), runtime.budget()));
  return Value::Bool(equal);
}

Result Odd(Runtime& runtime, const Value& subject, const BoundArguments&) {
  return LeavesRemainder(runtime, subject, Value::Int(2), 1);
}
Result Even(Runtime& runtime, const Value& subject, const BoundArguments&) {
  return LeavesRemainder(runtime, subject, Value::Int(2), 0);
}
Result DivisibleBy(Runtime& runtime, const Value& subject, const BoundArguments& arguments) {
  return LeavesRemainder(runtime, subject, arguments.Required(0), 0);
}

Result SameAs(Runtime&, const Value& subject, const BoundArguments& arguments) {
  return Value::Bool(subject.IsSame(arguments.Required(0)));
}

Result NamesFilter(Runtime&, const Value& subject, const BoundArguments&) {
  return Value::Bool(subject.is_string() && Filters().Find(subject.text()) != nullptr);
}
Result NamesTest(Runtime&, const Value& subject, const BoundArguments&) {
  return Value::Bool(subject.is_string() && Tests().Find(subject.text()) != nullptr);
}

bool IsDefined(const Value& value) { return !value.is_undefined(); }
bool IsUndefined(const Value& value) { return value.is_undefined(); }
bool IsNone(const Value& value) { return value.is_none(); }
bool IsBoolean(const Value& value) { return value.kind() == Kind::kBool; }
bool IsTrue(const Value& value) { return value.kind() == Kind::kBool && value.boolean(); }
bool IsFalse(const Value& value) { return value.kind() == Kind::kBool && !value.boolean(); }
bool IsInteger(const Value& value) { return value.kind() == Kind::kInt; }
bool IsFloat(const Value& value) { return value.kind() == Kind::kFloat; }
bool IsNumber(const Value& value) { return value.is_number(); }
bool IsString(const Value& value) { return value.is_string(); }
bool IsMapping(const Value& value) { return value.kind() == Kind::kDict; }
bool IsSequence(const Value& value) {
  return SizeOf(value).has_value() && value.kind() != Kind::kView;
}
bool IsEscaped(const Value& value) { return value.is_markup(); }

}  // namespace

const BuiltinTable& Tests() {
  static const BuiltinTable& table = *new BuiltinTable({
      {"boolean", "", Is<IsBoolean>},
      {"callable", "", Is<IsCallable>},
      {"defined", "", Is<IsDefined>},
      {"divisibleby", "num!", DivisibleBy},
      {"eq equalto ==", "/b!", Compares<Comparison::kEqual>},
      {"escaped", "", Is<IsEscaped>},
      {"even", "", Even},
      {"false", "", Is<IsFalse>},
      {"filter", "", NamesFilter},
      {"float", "", Is<IsFloat>},
      {"ge >=", "/b!", Compares<Comparison::kGreaterOrEqual>},
      {"gt greaterthan >", "/b!", Compares<Comparison::kGreater>},
      {"in", "seq!", Compares<Comparison::kIn>},
      {"integer", "", Is<IsInteger>},
      {"iterable", "", Is<IsIterable>},
      {"le <=", "/b!", Compares<Comparison::kLessOrEqual>},
      {"lower", "", TextIs<IsLower>},
      {"lt lessthan <", "/b!", Compares<Comparison::kLess>},
      {"mapping", "", Is<IsMapping>},
      {"ne !=", "/b!", Compares<Comparison::kNotEqual>},
      {"none", "", Is<IsNone>},
      {"number", "", Is<IsNumber>},
      {"odd", "", Odd},
      {"sameas", "other!", SameAs},
      {"sequence", "", Is<IsSequence>},
      {"string", "", Is<IsString>},
      {"test", "", NamesTest},
      {"true", "", Is<IsTrue>},
      {"undefined", "", Is<IsUndefined>},
      {"upper", "", TextIs<IsUpper>},
  });
  return table;
}

}  // namespace shira::jinja
