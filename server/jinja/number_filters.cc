// The filters that make numbers.

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string>

#include "base/status_macros.h"
#include "base/strings.h"
#include "server/jinja/builtins.h"
#include "server/jinja/numbers.h"
#include "server/jinja/operators.h"

namespace shira::jinja {
namespace {

using Result = absl::StatusOr<Value>;

absl::Status NotANumber(const Value& value) {
  if (value.is_undefined()) return UndefinedError(value);
  return absl::InvalidArgumentError(StrCat("expected a number, found '", TypeName(value), "'"));
}

absl::Status TooLarge() { return absl::InvalidArgumentError("an integer of more than 64 bits"); }

// int(number), where Python rounds towards zero.
Result Truncate(double number) {
  if (!std::isfinite(number) || std::abs(number) >= 9.2233720368547758e18) return TooLarge();
  return Value::Int(static_cast<int64_t>(number));
}

Result Abs(Runtime&, const Value& subject, const BoundArguments&) {
  if (!subject.is_number()) return NotANumber(subject);
  if (subject.kind() == Kind::kFloat) return Value::Float(std::abs(subject.number()));
  return ApplySign(subject.integer() < 0, subject);
}

Result IntFilter(Runtime&, const Value& subject, const BoundArguments& arguments) {
  Value otherwise = arguments.Or(0, Value::Int(0));
  if (subject.is_undefined()) return UndefinedError(subject);
  if (subject.is_integral()) return Value::Int(subject.integer());
  if (subject.kind() == Kind::kFloat) {
    if (std::isnan(subject.number())) return otherwise;
    return Truncate(subject.number());
  }
  if (!subject.is_string()) return otherwise;
  SHIRA_ASSIGN_OR_RETURN(const int64_t base, arguments.Integer(1, 10));
  bool overflow = false;
  if (base == 0 || (base >= 2 && base <= 36)) {
    const std::optional<int64_t> integer =
        ParseInteger(subject.text(), static_cast<int>(base), overflow);
    if (integer) return Value::Int(*integer);
    if (overflow) return TooLarge();
  }
  const std::optional<double> number = ParseFloat(subject.text());
  if (!number || !std::isfinite(*number)) return otherwise;
  return Truncate(*number);
}

Result FloatFilter(Runtime&, const Value& subject, const BoundArguments& arguments) {
  if (subject.is_undefined()) return UndefinedError(subject);
  if (subject.is_number()) return Value::Float(subject.number());
  if (subject.is_string()) {
    if (const std::optional<double> number = ParseFloat(subject.text())) {
      return Value::Float(*number);
    }
  }
  return arguments.Or(0, Value::Float(0));
}

// Rounds the exact value of the double, halves to even, as Python's round() does.
double RoundTo(double number, int64_t precision) {
  if (!std::isfinite(number) || precision > 350) return number;
  if (precision < 0) {
    if (precision < -330) return std::copysign(0.0, number);
    const double unit = std::pow(10.0, static_cast<double>(-precision));
    return std::nearbyint(number / unit) * unit;
  }
  char buffer[1024];
  std::snprintf(buffer, sizeof(buffer), "%.*f", static_cast<int>(precision), number);
  return std::strtod(buffer, nullptr);
}

Result RoundInteger(int64_t number, int64_t precision) {
  if (precision >= 0) return Value::Int(number);
  if (precision < -18) return Value::Int(0);
  int64_t unit = 1;
  for (int64_t i = precision; i < 0; ++i) unit *= 10;
  int64_t rounded = number - number % unit;
  const int64_t rest = std::abs(number % unit);
  const bool up = rest > unit / 2 || (rest == unit / 2 && (rounded / unit) % 2 != 0);
  if (up && __builtin_add_overflow(rounded, number < 0 ? -unit : unit, &rounded)) return TooLarge();
  return Value::Int(rounded);
}

Result Round(Runtime&, const Value& subject, const BoundArguments& arguments) {
  if (!subject.is_number()) return NotANumber(subject);
  SHIRA_ASSIGN_OR_RETURN(const int64_t precision, arguments.Integer(0, 0));
  const Value* method = arguments.Get(1);
  const std::string name = method == nullptr ? "common" : method->is_string() ? method->text() : "";
  if (name == "common") {
    if (subject.is_integral()) return RoundInteger(subject.integer(), precision);
    return Value::Float(RoundTo(subject.number(), precision));
  }
  if (name != "ceil" && name != "floor") {
    return absl::InvalidArgumentError("the method of rounding is 'common', 'ceil' or 'floor'");
  }
  const double scale = std::pow(10.0, static_cast<double>(precision));
  const double scaled = subject.number() * scale;
  if (!std::isfinite(scaled)) return TooLarge();
  return Value::Float((name == "ceil" ? std::ceil(scaled) : std::floor(scaled)) / scale);
}

}  // namespace

const BuiltinTable& NumberFilters() {
  static const BuiltinTable& table = *new BuiltinTable({
      {"abs", "", Abs},
      {"float", "default", FloatFilter},
      {"int", "default base", IntFilter},
      {"round", "precision method", Round},
  });
  return table;
}

}  // namespace shira::jinja
