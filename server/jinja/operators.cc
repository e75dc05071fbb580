#include "server/jinja/operators.h"

#include <cmath>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/status_macros.h"
#include "base/strings.h"
#include "server/jinja/format.h"
#include "server/jinja/object.h"
#include "server/jinja/text.h"

namespace shira::jinja {
namespace {

std::string_view Symbol(BinaryOperator op) {
  switch (op) {
    case BinaryOperator::kAdd:
      return "+";
    case BinaryOperator::kSubtract:
      return "-";
    case BinaryOperator::kMultiply:
      return "*";
    case BinaryOperator::kDivide:
      return "/";
    case BinaryOperator::kFloorDivide:
      return "//";
    case BinaryOperator::kModulo:
      return "%";
    case BinaryOperator::kPower:
      return "**";
  }
  return "?";
}

absl::Status Unsupported(BinaryOperator op, const Value& left, const Value& right) {
  if (left.is_undefined()) return UndefinedError(left);
  if (right.is_undefined()) return UndefinedError(right);
  return absl::InvalidArgumentError(StrCat("unsupported operands for ", Symbol(op), ": '",
                                           TypeName(left), "' and '", TypeName(right), "'"));
}

absl::Status Overflow(BinaryOperator op) {
  return absl::InvalidArgumentError(StrCat("the result of ", Symbol(op), " has more than 64 bits"));
}

absl::Status DivisionByZero() { return absl::InvalidArgumentError("division by zero"); }

// Python rounds the quotient towards minus infinity; the remainder has the sign of the divisor.
absl::StatusOr<Value> DivideIntegers(BinaryOperator op, int64_t a, int64_t b) {
  if (b == 0) return DivisionByZero();
  if (b == -1) {
    if (op == BinaryOperator::kModulo) return Value::Int(0);
    int64_t negated = 0;
    if (__builtin_sub_overflow(int64_t{0}, a, &negated)) return Overflow(op);
    return Value::Int(negated);
  }
  const int64_t remainder = a % b;
  const bool adjust = remainder != 0 && (remainder < 0) != (b < 0);
  if (op == BinaryOperator::kModulo) return Value::Int(adjust ? remainder + b : remainder);
  return Value::Int(a / b - (adjust ? 1 : 0));
}

absl::StatusOr<Value> DivideFloats(BinaryOperator op, double a, double b) {
  if (b == 0) return DivisionByZero();
  double remainder = std::fmod(a, b);
  double quotient = (a - remainder) / b;
  if (remainder != 0) {
    if ((b < 0) != (remainder < 0)) {
      remainder += b;
      quotient -= 1;
    }
  } else {
    remainder = std::copysign(0.0, b);
  }
  if (op == BinaryOperator::kModulo) return Value::Float(remainder);
  if (quotient == 0) return Value::Float(std::copysign(0.0, a / b));
  double whole = std::floor(quotient);
  if (quotient - whole > 0.5) whole += 1;
  return Value::Float(whole);
}

absl::StatusOr<Value> Power(const Value& base, const Value& exponent) {
  if (base.is_integral() && exponent.is_integral() && exponent.integer() >= 0) {
    int64_t result = 1;
    int64_t square = base.integer();
    for (int64_t rest = exponent.integer(); rest > 0; rest /= 2) {
      if (rest % 2 == 1 && __builtin_mul_overflow(result, square, &result)) {
        return Overflow(BinaryOperator::kPower);
      }
      if (rest > 1 && __builtin_mul_overflow(square, square, &square)) {
        return Overflow(BinaryOperator::kPower);
      }
    }
    return Value::Int(result);
  }
  const double a = base.number();
  const double b = exponent.number();
  if (a == 0 && b < 0) return DivisionByZero();
  if (a < 0 && std::isfinite(b) && b != std::floor(b)) {
    return absl::InvalidArgumentError("a fractional power of a negative number");
  }
  const double result = std::pow(a, b);
  if (std::isinf(result) && std::isfinite(a) && std::isfinite(b)) {
    return absl::InvalidArgumentError("the result of ** is too large");
  }
  return Value::Float(result);
}

absl::StatusOr<Value> ApplyToNumbers(BinaryOperator op, const Value& left, const Value& right) {
  if (op == BinaryOperator::kPower) return Power(left, right);
  if (op == BinaryOperator::kDivide) {
    if (right.number() == 0) return DivisionByZero();
    return Value::Float(left.number() / right.number());
  }
  const bool divides = op == BinaryOperator::kFloorDivide || op == BinaryOperator::kModulo;
  if (left.is_integral() && right.is_integral()) {
    const int64_t a = left.integer();
    const int64_t b = right.integer();
    if (divides) return DivideIntegers(op, a, b);
    int64_t result = 0;
    const bool overflow = op == BinaryOperator::kAdd        ? __builtin_add_overflow(a, b, &result)
                          : op == BinaryOperator::kSubtract ? __builtin_sub_overflow(a, b, &result)
                                                            : __builtin_mul_overflow(a, b, &result);
    if (overflow) return Overflow(op);
    return Value::Int(result);
  }
  const double a = left.number();
  const double b = right.number();
  if (divides) return DivideFloats(op, a, b);
  return Value::Float(op == BinaryOperator::kAdd        ? a + b
                      : op == BinaryOperator::kSubtract ? a - b
                                                        : a * b);
}

absl::StatusOr<Value> AddStrings(const Value& left, const Value& right) {
  SHIRA_RETURN_IF_ERROR(CheckStringBytes(left.text().size() + right.text().size()));
  if (!left.is_markup() && !right.is_markup()) {
    return Value::String(StrCat(left.text(), right.text()));
  }
  const auto safe = [](const Value& value) {
    return value.is_markup() ? value.text() : EscapeHtml(value.text());
  };
  return Value::Markup(StrCat(safe(left), safe(right)));
}

absl::StatusOr<Value> AddSequences(const Value& left, const Value& right) {
  SHIRA_RETURN_IF_ERROR(CheckListItems(left.items().size() + right.items().size()));
  std::vector<Value> items = left.items();
  items.insert(items.end(), right.items().begin(), right.items().end());
  return left.kind() == Kind::kList ? Value::List(std::move(items))
                                    : Value::Tuple(std::move(items));
}

// A string, list or tuple times an integer.
absl::StatusOr<Value> Repeat(const Value& value, int64_t count) {
  const size_t size = value.is_string() ? value.text().size() : value.items().size();
  const auto times = static_cast<size_t>(count < 0 ? 0 : count);
  const size_t bound = value.is_string() ? kMaxStringBytes : kMaxListItems;
  const bool too_large = size > 0 && times > bound / size;
  if (value.is_string()) {
    if (too_large) return CheckStringBytes(bound + 1);
    std::string text;
    text.reserve(size * times);
    if (size > 0) {
      for (size_t i = 0; i < times; ++i) text += value.text();
    }
    return value.is_markup() ? Value::Markup(std::move(text)) : Value::String(std::move(text));
  }
  if (too_large) return CheckListItems(bound + 1);
  std::vector<Value> items;
  if (size > 0) {
    for (size_t i = 0; i < times; ++i) {
      items.insert(items.end(), value.items().begin(), value.items().end());
    }
  }
  return value.kind() == Kind::kList ? Value::List(std::move(items))
                                     : Value::Tuple(std::move(items));
}

absl::StatusOr<Value> ApplyToOthers(BinaryOperator op, const Value& left, const Value& right,
                                    Budget& budget) {
  if (op == BinaryOperator::kAdd) {
    if (left.is_string() && right.is_string()) return AddStrings(left, right);
    if (left.is_sequence() && left.kind() == right.kind()) return AddSequences(left, right);
  } else if (op == BinaryOperator::kMultiply) {
    const auto repeats = [](const Value& v) { return v.is_string() || v.is_sequence(); };
    if (repeats(left) && right.is_integral()) return Repeat(left, right.integer());
    if (repeats(right) && left.is_integral()) return Repeat(right, left.integer());
  } else if (op == BinaryOperator::kModulo && left.is_string()) {
    if (left.is_markup()) return absl::UnimplementedError("formatting text that is marked as safe");
    SHIRA_ASSIGN_OR_RETURN(std::string text, FormatPercent(left.text(), right, budget));
    return Value::String(std::move(text));
  }
  return Unsupported(op, left, right);
}

}  // namespace

absl::StatusOr<Value> Apply(BinaryOperator op, const Value& left, const Value& right,
                            Budget& budget) {
  if (left.is_number() && right.is_number()) return ApplyToNumbers(op, left, right);
  SHIRA_RETURN_IF_ERROR(budget.SpendBytes(ShallowBytes(left) + ShallowBytes(right)));
  SHIRA_ASSIGN_OR_RETURN(Value result, ApplyToOthers(op, left, right, budget));
  SHIRA_RETURN_IF_ERROR(budget.SpendBytes(ShallowBytes(result)));
  return result;
}

absl::StatusOr<Value> ApplySign(bool negative, const Value& operand) {
  if (operand.is_undefined()) return UndefinedError(operand);
  if (!operand.is_number()) {
    return absl::InvalidArgumentError(
        StrCat("unsupported operand for a sign: '", TypeName(operand), "'"));
  }
  if (operand.kind() == Kind::kFloat) {
    return Value::Float(negative ? -operand.number() : operand.number());
  }
  int64_t result = operand.integer();
  if (negative && __builtin_sub_overflow(int64_t{0}, operand.integer(), &result)) {
    return Overflow(BinaryOperator::kSubtract);
  }
  return Value::Int(result);
}

absl::StatusOr<bool> Contains(const Value& container, const Value& item, Budget& budget) {
  SHIRA_RETURN_IF_ERROR(budget.SpendBytes(ShallowBytes(container)));
  if (container.is_string()) {
    if (!item.is_string()) {
      return absl::InvalidArgumentError(
          StrCat("'in <string>' needs a string on its left, found '", TypeName(item), "'"));
    }
    return container.text().find(item.text()) != std::string::npos;
  }
  const bool by_key = container.kind() == Kind::kDict ||
                      (container.kind() == Kind::kView && container.view().of == View::Of::kKeys);
  if (by_key) {
    const Dict& dict = container.kind() == Kind::kDict ? container.dict() : *container.view().dict;
    SHIRA_ASSIGN_OR_RETURN(const Value* found, dict.Find(item));
    return found != nullptr;
  }
  SHIRA_ASSIGN_OR_RETURN(const std::shared_ptr<Iterator> iterator, Iterate(container));
  while (true) {
    SHIRA_ASSIGN_OR_RETURN(const std::optional<Value> next, (*iterator)());
    if (!next) return false;
    SHIRA_ASSIGN_OR_RETURN(const bool equal, Equals(*next, item, budget));
    if (equal) return true;
  }
}

absl::StatusOr<bool> Compare(Comparison op, const Value& left, const Value& right, Budget& budget) {
  const auto negated = [](absl::StatusOr<bool> result) {
    return result.ok() ? absl::StatusOr<bool>(!*result) : result;
  };
  const bool has_nan = (left.kind() == Kind::kFloat && std::isnan(left.number())) ||
                       (right.kind() == Kind::kFloat && std::isnan(right.number()));
  switch (op) {
    case Comparison::kEqual:
      return Equals(left, right, budget);
    case Comparison::kNotEqual:
      return negated(Equals(left, right, budget));
    case Comparison::kLess:
      return Less(left, right, budget);
    case Comparison::kGreater:
      return Less(right, left, budget);
    case Comparison::kLessOrEqual:
      if (has_nan && left.is_number() && right.is_number()) return false;
      return negated(Less(right, left, budget));
    case Comparison::kGreaterOrEqual:
      if (has_nan && left.is_number() && right.is_number()) return false;
      return negated(Less(left, right, budget));
    case Comparison::kIn:
      return Contains(right, left, budget);
    case Comparison::kNotIn:
      return negated(Contains(right, left, budget));
  }
  return false;
}

}  // namespace shira::jinja
