#include "server/jinja/format.h"

#include <cmath>
#include <cstdio>
#include <optional>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "base/status_macros.h"
#include "base/strings.h"
#include "server/jinja/access.h"
#include "server/jinja/text.h"
#include "server/tokenizer/utf8.h"

namespace shira::jinja {
namespace {

constexpr int64_t kMaxFieldWidth = 10'000;

struct Conversion {
  bool left = false;
  bool sign = false;
  bool space = false;
  bool zero = false;
  bool alternative = false;
  int64_t width = 0;
  std::optional<int64_t> precision;
  char type = 's';
};

class PercentFormatter {
 public:
  PercentFormatter(std::string_view format, const Value& arguments, Budget& budget)
      : rest_(format), arguments_(arguments), budget_(budget) {}

  absl::StatusOr<std::string> Run() {
    while (!rest_.empty()) {
      const size_t percent = rest_.find('%');
      text_ += rest_.substr(0, percent);
      if (percent == std::string_view::npos) break;
      rest_.remove_prefix(percent + 1);
      SHIRA_RETURN_IF_ERROR(Field());
      SHIRA_RETURN_IF_ERROR(CheckStringBytes(text_.size()));
    }
    const bool is_mapping = arguments_.kind() == Kind::kDict || arguments_.kind() == Kind::kList ||
                            arguments_.kind() == Kind::kRange || arguments_.is_undefined();
    const size_t given = arguments_.kind() == Kind::kTuple ? arguments_.items().size() : 1;
    if (!is_mapping && used_ < given) {
      return absl::InvalidArgumentError("not all arguments are used by the format");
    }
    return std::move(text_);
  }

 private:
  static absl::Status Incomplete() { return absl::InvalidArgumentError("incomplete format"); }

  absl::StatusOr<char> Take() {
    if (rest_.empty()) return Incomplete();
    const char c = rest_[0];
    rest_.remove_prefix(1);
    return c;
  }

  absl::StatusOr<Value> NextArgument() {
    if (named_) return *std::exchange(named_, std::nullopt);
    if (arguments_.kind() != Kind::kTuple) {
      if (used_++ > 0) return absl::InvalidArgumentError("not enough arguments for the format");
      return arguments_;
    }
    if (used_ >= arguments_.items().size()) {
      return absl::InvalidArgumentError("not enough arguments for the format");
    }
    return arguments_.items()[used_++];
  }

  absl::Status Name() {
    if (rest_.empty() || rest_[0] != '(') return absl::OkStatus();
    const size_t end = rest_.find(')');
    if (end == std::string_view::npos) return Incomplete();
    if (arguments_.kind() != Kind::kDict) {
      return absl::InvalidArgumentError("the format needs a mapping");
    }
    const std::string_view name = rest_.substr(1, end - 1);
    const Value* found = arguments_.dict().Find(name);
    if (found == nullptr) {
      return absl::InvalidArgumentError(StrCat("the format needs the key '", name, "'"));
    }
    named_ = *found;
    rest_.remove_prefix(end + 1);
    return absl::OkStatus();
  }

  absl::StatusOr<int64_t> Number() {
    int64_t number = 0;
    if (!rest_.empty() && rest_[0] == '*') {
      rest_.remove_prefix(1);
      SHIRA_ASSIGN_OR_RETURN(const Value value, NextArgument());
      if (value.kind() != Kind::kInt) return absl::InvalidArgumentError("* wants an integer");
      number = value.integer();
    }
    while (!rest_.empty() && absl::ascii_isdigit(rest_[0]) && number <= kMaxFieldWidth) {
      number = number * 10 + (rest_[0] - '0');
      rest_.remove_prefix(1);
    }
    if (number > kMaxFieldWidth || number < -kMaxFieldWidth) {
      return absl::ResourceExhaustedError(
          StrCat("a field of more than ", kMaxFieldWidth, " characters"));
    }
    return number;
  }

  absl::Status Field() {
    SHIRA_RETURN_IF_ERROR(Name());
    Conversion conversion;
    for (bool flags = true; flags && !rest_.empty();) {
      switch (rest_[0]) {
        case '-':
          conversion.left = true;
          break;
        case '+':
          conversion.sign = true;
          break;
        case ' ':
          conversion.space = true;
          break;
        case '0':
          conversion.zero = true;
          break;
        case '#':
          conversion.alternative = true;
          break;
        default:
          flags = false;
      }
      if (flags) rest_.remove_prefix(1);
    }
    SHIRA_ASSIGN_OR_RETURN(conversion.width, Number());
    if (conversion.width < 0) {
      conversion.left = true;
      conversion.width = -conversion.width;
    }
    if (!rest_.empty() && rest_[0] == '.') {
      rest_.remove_prefix(1);
      SHIRA_ASSIGN_OR_RETURN(const int64_t precision, Number());
      conversion.precision = precision < 0 ? 0 : precision;
    }
    while (!rest_.empty() && (rest_[0] == 'h' || rest_[0] == 'l' || rest_[0] == 'L')) {
      rest_.remove_prefix(1);
    }
    SHIRA_ASSIGN_OR_RETURN(conversion.type, Take());
    if (conversion.type == '%') {
      text_ += '%';
      return absl::OkStatus();
    }
    SHIRA_ASSIGN_OR_RETURN(const Value value, NextArgument());
    SHIRA_ASSIGN_OR_RETURN(const std::string converted, Convert(conversion, value));
    return Pad(conversion, converted);
  }

  absl::StatusOr<std::string> Convert(const Conversion& conversion, const Value& value) {
    switch (conversion.type) {
      case 's':
      case 'r': {
        SHIRA_ASSIGN_OR_RETURN(std::string text, conversion.type == 's' ? Str(value) : Repr(value));
        SHIRA_RETURN_IF_ERROR(budget_.SpendBytes(text.size()));
        if (!conversion.precision) return text;
        const std::u32string code_points = ToCodePoints(text);
        return FromCodePoints(
            std::u32string_view(code_points).substr(0, static_cast<size_t>(*conversion.precision)));
      }
      case 'd':
      case 'i':
      case 'u':
      case 'x':
      case 'X':
      case 'o':
        return ConvertInteger(conversion, value);
      case 'e':
      case 'E':
      case 'f':
      case 'F':
      case 'g':
      case 'G':
        return ConvertFloat(conversion, value);
      case 'c':
        return ConvertCharacter(value);
      default:
        return absl::InvalidArgumentError(
            StrCat("unknown format '%", std::string(1, conversion.type), "'"));
    }
  }

  static absl::Status WrongType(const Conversion& conversion, const Value& value) {
    if (value.is_undefined()) return UndefinedError(value);
    return absl::InvalidArgumentError(StrCat("the format '%", std::string(1, conversion.type),
                                             "' takes a number, found '", TypeName(value), "'"));
  }

  static std::string Signed(const Conversion& conversion, bool negative, std::string digits) {
    return (negative           ? "-"
            : conversion.sign  ? "+"
            : conversion.space ? " "
                               : "") +
           std::move(digits);
  }

  static absl::StatusOr<std::string> ConvertInteger(const Conversion& conversion,
                                                    const Value& value) {
    const bool decimal = conversion.type == 'd' || conversion.type == 'i' || conversion.type == 'u';
    int64_t number = 0;
    if (value.is_integral()) {
      number = value.integer();
    } else if (decimal && value.kind() == Kind::kFloat && std::abs(value.number()) < 9.2e18) {
      number = static_cast<int64_t>(value.number());
    } else {
      return WrongType(conversion, value);
    }
    const auto magnitude =
        number < 0 ? uint64_t{0} - static_cast<uint64_t>(number) : static_cast<uint64_t>(number);
    const char* format = decimal                  ? "%llu"
                         : conversion.type == 'x' ? "%llx"
                         : conversion.type == 'X' ? "%llX"
                                                  : "%llo";
    char buffer[32];
    std::snprintf(buffer, sizeof(buffer), format, static_cast<unsigned long long>(magnitude));
    std::string digits = buffer;
    const auto precision = static_cast<size_t>(conversion.precision.value_or(0));
    if (digits.size() < precision) digits.insert(0, precision - digits.size(), '0');
    if (conversion.alternative && !decimal) {
      digits.insert(0, StrCat("0", std::string(1, conversion.type)));
    }
    return Signed(conversion, number < 0, std::move(digits));
  }

  static absl::StatusOr<std::string> ConvertFloat(const Conversion& conversion,
                                                  const Value& value) {
    if (!value.is_number()) return WrongType(conversion, value);
    const std::string format =
        StrCat("%", conversion.alternative ? "#" : "", ".*", std::string(1, conversion.type));
    const int precision = static_cast<int>(conversion.precision.value_or(6));
    const double magnitude = std::abs(value.number());
    const int size = std::snprintf(nullptr, 0, format.c_str(), precision, magnitude);
    std::string digits(static_cast<size_t>(size) + 1, '\0');
    std::snprintf(digits.data(), digits.size(), format.c_str(), precision, magnitude);
    digits.pop_back();
    return Signed(conversion, std::signbit(value.number()) && !std::isnan(value.number()),
                  std::move(digits));
  }

  static absl::StatusOr<std::string> ConvertCharacter(const Value& value) {
    if (value.is_string() && CodePointCount(value.text()) == 1) return value.text();
    if (value.is_integral() && value.integer() >= 0 && value.integer() <= 0x10FFFF &&
        (value.integer() < 0xD800 || value.integer() > 0xDFFF)) {
      std::string text;
      AppendUtf8(static_cast<char32_t>(value.integer()), &text);
      return text;
    }
    return absl::InvalidArgumentError("the format '%c' takes a character");
  }

  absl::Status Pad(const Conversion& conversion, std::string_view converted) {
    const auto size = static_cast<int64_t>(CodePointCount(converted));
    const auto missing = static_cast<size_t>(std::max<int64_t>(0, conversion.width - size));
    const bool numeric =
        std::string_view("diuxXoeEfFgG").find(conversion.type) != std::string_view::npos;
    if (conversion.left) {
      StrAppend(&text_, converted, std::string(missing, ' '));
    } else if (conversion.zero && numeric) {
      size_t prefix = converted.find_first_not_of("+- ");
      if (conversion.alternative && converted.substr(prefix, 1) == "0" &&
          std::string_view("xXo").find(conversion.type) != std::string_view::npos) {
        prefix += 2;
      }
      StrAppend(&text_, converted.substr(0, prefix), std::string(missing, '0'),
                converted.substr(prefix));
    } else {
      StrAppend(&text_, std::string(missing, ' '), converted);
    }
    return absl::OkStatus();
  }

  std::string_view rest_;
  const Value& arguments_;
  Budget& budget_;
  std::string text_;
  std::optional<Value> named_;
  size_t used_ = 0;
};

class BraceFormatter {
 public:
  BraceFormatter(const Arguments& arguments, Budget& budget)
      : arguments_(arguments), budget_(budget) {}

  absl::StatusOr<std::string> Run(std::string_view format) {
    std::string text;
    while (!format.empty()) {
      const size_t brace = format.find_first_of("{}");
      text += format.substr(0, brace);
      if (brace == std::string_view::npos) break;
      format.remove_prefix(brace);
      if (format.size() > 1 && format[1] == format[0]) {
        text += format[0];
        format.remove_prefix(2);
        continue;
      }
      const size_t end = format.find('}');
      if (format[0] == '}' || end == std::string_view::npos) {
        return absl::InvalidArgumentError("a single brace in a format");
      }
      SHIRA_ASSIGN_OR_RETURN(const std::string field, Field(format.substr(1, end - 1)));
      text += field;
      SHIRA_RETURN_IF_ERROR(budget_.SpendBytes(field.size()));
      SHIRA_RETURN_IF_ERROR(CheckStringBytes(text.size()));
      format.remove_prefix(end + 1);
    }
    return text;
  }

 private:
  absl::StatusOr<std::string> Field(std::string_view field) {
    if (field.find('{') != std::string_view::npos || field.find(':') != std::string_view::npos) {
      return absl::UnimplementedError("a format specification inside of braces");
    }
    std::string_view conversion = "s";
    if (const size_t mark = field.find('!'); mark != std::string_view::npos) {
      conversion = field.substr(mark + 1);
      field = field.substr(0, mark);
    }
    if (conversion != "s" && conversion != "r") {
      return absl::InvalidArgumentError(StrCat("unknown conversion '", conversion, "'"));
    }
    SHIRA_ASSIGN_OR_RETURN(const Value value, Lookup(field));
    return conversion == "s" ? Str(value) : Repr(value);
  }

  absl::StatusOr<Value> Lookup(std::string_view field) {
    const size_t name_end = std::min(field.find_first_of(".["), field.size());
    SHIRA_ASSIGN_OR_RETURN(Value value, Argument(field.substr(0, name_end)));
    field.remove_prefix(name_end);
    while (!field.empty()) {
      if (field[0] == '.') {
        const size_t end = std::min(field.find_first_of(".[", 1), field.size());
        if (end == 1) return absl::InvalidArgumentError("an empty attribute in a format");
        SHIRA_ASSIGN_OR_RETURN(value, GetAttribute(value, field.substr(1, end - 1), budget_));
        field.remove_prefix(end);
        continue;
      }
      const size_t end = field.find(']');
      if (field[0] != '[' || end == std::string_view::npos || end == 1) {
        return absl::InvalidArgumentError("a malformed item in a format");
      }
      const std::string_view key = field.substr(1, end - 1);
      int64_t index = 0;
      const bool is_index = key.find_first_not_of("0123456789") == std::string_view::npos &&
                            absl::SimpleAtoi(ToAbsl(key), &index);
      SHIRA_ASSIGN_OR_RETURN(
          value,
          GetItem(value, is_index ? Value::Int(index) : Value::String(std::string(key)), budget_));
      field.remove_prefix(end + 1);
    }
    return value;
  }

  absl::StatusOr<Value> Argument(std::string_view name) {
    const bool automatic = name.empty();
    size_t index = 0;
    if (automatic || (name.find_first_not_of("0123456789") == std::string_view::npos &&
                      absl::SimpleAtoi(ToAbsl(name), &index))) {
      if (numbering_ && *numbering_ != automatic) {
        return absl::InvalidArgumentError("a format that mixes '{}' and '{0}'");
      }
      numbering_ = automatic;
      if (automatic) index = next_++;
      if (index >= arguments_.positional.size()) {
        return absl::InvalidArgumentError(StrCat("the format has no argument of index ", index));
      }
      return arguments_.positional[index];
    }
    for (const auto& [key, value] : arguments_.named) {
      if (key == name) return value;
    }
    return absl::InvalidArgumentError(StrCat("the format has no argument '", name, "'"));
  }

  const Arguments& arguments_;
  Budget& budget_;
  std::optional<bool> numbering_;  // automatic or not, once known
  size_t next_ = 0;
};

}  // namespace

absl::StatusOr<std::string> FormatPercent(std::string_view format, const Value& arguments,
                                          Budget& budget) {
  return PercentFormatter(format, arguments, budget).Run();
}

absl::StatusOr<std::string> FormatBraces(std::string_view format, const Arguments& arguments,
                                         Budget& budget) {
  return BraceFormatter(arguments, budget).Run(format);
}

}  // namespace shira::jinja
