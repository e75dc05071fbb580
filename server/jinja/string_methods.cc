// The methods of strings.

#include <algorithm>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/status_macros.h"
#include "base/strings.h"
#include "server/jinja/access.h"
#include "server/jinja/builtins.h"
#include "server/jinja/format.h"
#include "server/jinja/object.h"
#include "server/jinja/text.h"
#include "server/tokenizer/utf8.h"

namespace shira::jinja {
namespace {

using Result = absl::StatusOr<Value>;

template <std::string (*kMap)(std::string_view)>
Result MapText(Runtime&, const Value& subject, const BoundArguments&) {
  return Value::String(kMap(subject.text()));
}

template <bool (*kPredicate)(std::string_view)>
Result TextIs(Runtime&, const Value& subject, const BoundArguments&) {
  return Value::Bool(kPredicate(subject.text()));
}

bool IsIdentifier(std::string_view text) {
  if (text.empty()) return false;
  size_t position = 0;
  if (!IsIdentifierStart(NextCharacter(text, &position))) return false;
  while (position < text.size()) {
    if (!IsIdentifierPart(NextCharacter(text, &position))) return false;
  }
  return true;
}

bool IsAsciiText(std::string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return static_cast<unsigned char>(c) < 0x80; });
}

absl::StatusOr<std::string> RequiredText(const BoundArguments& arguments, size_t parameter) {
  const Value& value = arguments.Required(parameter);
  if (value.is_string()) return value.text();
  if (value.is_undefined()) return UndefinedError(value);
  return absl::InvalidArgumentError(StrCat("expected a string, found '", TypeName(value), "'"));
}

template <Side kSide>
Result StripMethod(Runtime&, const Value& subject, const BoundArguments& arguments) {
  SHIRA_ASSIGN_OR_RETURN(const std::optional<std::string> characters, arguments.Text(0));
  return Value::String(std::string(Strip(subject.text(), kSide, characters)));
}

Value Strings(std::vector<std::string> parts) {
  std::vector<Value> values;
  for (std::string& part : parts) values.push_back(Value::String(std::move(part)));
  return Value::List(std::move(values));
}

// An integer argument; Python takes no None here.
absl::StatusOr<int64_t> IntegerOnly(const BoundArguments& arguments, size_t parameter,
                                    int64_t otherwise) {
  if (const Value* value = arguments.Get(parameter); value != nullptr && value->is_none()) {
    return absl::InvalidArgumentError("expected an integer, found 'NoneType'");
  }
  return arguments.Integer(parameter, otherwise);
}

template <bool kFromRight>
Result SplitMethod(Runtime&, const Value& subject, const BoundArguments& arguments) {
  SHIRA_ASSIGN_OR_RETURN(const std::optional<std::string> separator, arguments.Text(0));
  SHIRA_ASSIGN_OR_RETURN(const int64_t max_splits, IntegerOnly(arguments, 1, -1));
  if (separator && separator->empty()) return absl::InvalidArgumentError("empty separator");
  return Strings(kFromRight ? SplitFromRight(subject.text(), separator, max_splits)
                            : Split(subject.text(), separator, max_splits));
}

Result SplitLinesMethod(Runtime&, const Value& subject, const BoundArguments& arguments) {
  return Strings(SplitLines(subject.text(), arguments.IsTrue(0)));
}

template <bool kFromRight>
Result Partition(Runtime&, const Value& subject, const BoundArguments& arguments) {
  SHIRA_ASSIGN_OR_RETURN(const std::string separator, RequiredText(arguments, 0));
  if (separator.empty()) return absl::InvalidArgumentError("empty separator");
  const std::string& text = subject.text();
  const size_t at = kFromRight ? text.rfind(separator) : text.find(separator);
  if (at == std::string::npos) {
    const Value empty = Value::String("");
    const Value all = Value::String(text);
    return kFromRight ? Value::Tuple({empty, empty, all}) : Value::Tuple({all, empty, empty});
  }
  return Value::Tuple({Value::String(text.substr(0, at)), Value::String(separator),
                       Value::String(text.substr(at + separator.size()))});
}

// text[start:stop] for the methods that search, where start and stop are the arguments `parameter`
// and the one after it.
struct Window {
  std::string text;
  int64_t start = 0;      // in characters
  bool reachable = true;  // false: start is past the end, where not even the empty text is found
};

absl::StatusOr<Window> WindowOf(Runtime& runtime, const Value& subject,
                                const BoundArguments& arguments, size_t parameter) {
  const Value start = arguments.Or(parameter, Value::None());
  const Value stop = arguments.Or(parameter + 1, Value::None());
  if (start.is_none() && stop.is_none()) return Window{subject.text()};
  const Value step = Value::None();
  SHIRA_ASSIGN_OR_RETURN(const Value slice, GetSlice(subject, start, stop, step, runtime.budget()));
  const auto size = static_cast<int64_t>(CodePointCount(subject.text()));
  int64_t first = start.is_none() ? 0 : start.integer();
  if (first < 0) first = std::max<int64_t>(0, first + size);
  int64_t last = stop.is_none() ? size : stop.integer();
  if (last < 0) last = std::max<int64_t>(0, last + size);
  return Window{slice.text(), first, first <= std::min(size, last)};
}

template <bool kFromRight, bool kRaises>
Result FindMethod(Runtime& runtime, const Value& subject, const BoundArguments& arguments) {
  SHIRA_ASSIGN_OR_RETURN(const std::string wanted, RequiredText(arguments, 0));
  SHIRA_ASSIGN_OR_RETURN(const Window window, WindowOf(runtime, subject, arguments, 1));
  const size_t at = kFromRight ? window.text.rfind(wanted) : window.text.find(wanted);
  if (at == std::string::npos || !window.reachable) {
    if (kRaises) return absl::InvalidArgumentError("substring not found");
    return Value::Int(-1);
  }
  const size_t before = CodePointCount(std::string_view(window.text).substr(0, at));
  return Value::Int(window.start + static_cast<int64_t>(before));
}

Result CountMethod(Runtime& runtime, const Value& subject, const BoundArguments& arguments) {
  SHIRA_ASSIGN_OR_RETURN(const std::string wanted, RequiredText(arguments, 0));
  SHIRA_ASSIGN_OR_RETURN(const Window window, WindowOf(runtime, subject, arguments, 1));
  if (!window.reachable) return Value::Int(0);
  if (wanted.empty()) return Value::Int(static_cast<int64_t>(CodePointCount(window.text)) + 1);
  int64_t count = 0;
  for (size_t at = window.text.find(wanted); at != std::string::npos;
       at = window.text.find(wanted, at + wanted.size())) {
    ++count;
  }
  return Value::Int(count);
}

template <bool kAtEnd>
Result HasAffix(Runtime& runtime, const Value& subject, const BoundArguments& arguments) {
  SHIRA_ASSIGN_OR_RETURN(const Window window, WindowOf(runtime, subject, arguments, 1));
  const Value& wanted = arguments.Required(0);
  const std::vector<Value> affixes =
      wanted.kind() == Kind::kTuple ? wanted.items() : std::vector<Value>{wanted};
  for (const Value& affix : affixes) {
    if (affix.is_undefined()) return UndefinedError(affix);
    if (!affix.is_string()) {
      return absl::InvalidArgumentError(
          StrCat("expected a string or a tuple of strings, found '", TypeName(affix), "'"));
    }
    const bool has =
        kAtEnd ? window.text.ends_with(affix.text()) : window.text.starts_with(affix.text());
    if (has && window.reachable) return Value::Bool(true);
  }
  return Value::Bool(false);
}

template <bool kAtEnd>
Result RemoveAffix(Runtime&, const Value& subject, const BoundArguments& arguments) {
  SHIRA_ASSIGN_OR_RETURN(const std::string affix, RequiredText(arguments, 0));
  std::string_view text = subject.text();
  if (kAtEnd) {
    ConsumeSuffix(text, affix);
  } else {
    ConsumePrefix(text, affix);
  }
  return Value::String(std::string(text));
}

Result ReplaceMethod(Runtime&, const Value& subject, const BoundArguments& arguments) {
  SHIRA_ASSIGN_OR_RETURN(const std::string from, RequiredText(arguments, 0));
  SHIRA_ASSIGN_OR_RETURN(std::string to, RequiredText(arguments, 1));
  SHIRA_ASSIGN_OR_RETURN(const int64_t count, IntegerOnly(arguments, 2, -1));
  if (subject.is_markup() && !arguments.Required(1).is_markup()) to = EscapeHtml(to);
  std::optional<std::string> replaced = Replace(subject.text(), from, to, count, kMaxStringBytes);
  if (!replaced) return CheckStringBytes(kMaxStringBytes + 1);
  return Value::String(*std::move(replaced));
}

Result JoinMethod(Runtime& runtime, const Value& subject, const BoundArguments& arguments) {
  SHIRA_ASSIGN_OR_RETURN(const std::vector<Value> items,
                         ToVector(arguments.Required(0), runtime.budget()));
  std::string joined;
  for (size_t i = 0; i < items.size(); ++i) {
    if (i > 0) joined += subject.text();
    if (subject.is_markup()) {
      SHIRA_ASSIGN_OR_RETURN(const std::string text, Str(items[i]));
      joined += items[i].is_markup() ? text : EscapeHtml(text);
    } else if (items[i].is_string()) {
      joined += items[i].text();
    } else {
      return absl::InvalidArgumentError(
          StrCat("item ", i, " is no string but '", TypeName(items[i]), "'"));
    }
    SHIRA_RETURN_IF_ERROR(CheckStringBytes(joined.size()));
  }
  return Value::String(std::move(joined));
}

Result FormatMethod(Runtime& runtime, const Value& subject, const BoundArguments& arguments) {
  if (subject.is_markup()) {
    return absl::UnimplementedError("formatting text that is marked as safe");
  }
  SHIRA_ASSIGN_OR_RETURN(std::string text,
                         FormatBraces(subject.text(), arguments.rest(), runtime.budget()));
  return Value::String(std::move(text));
}

// How many characters are missing to the width that the first argument gives.
absl::StatusOr<size_t> Missing(const Value& subject, const BoundArguments& arguments) {
  SHIRA_ASSIGN_OR_RETURN(const int64_t width, IntegerOnly(arguments, 0, 0));
  const auto size = static_cast<int64_t>(CodePointCount(subject.text()));
  const int64_t missing = std::max<int64_t>(0, width - size);
  // A character has up to four bytes.
  SHIRA_RETURN_IF_ERROR(
      CheckStringBytes(static_cast<size_t>(missing) > kMaxStringBytes / 4
                           ? kMaxStringBytes + 1
                           : subject.text().size() + 4 * static_cast<size_t>(missing)));
  return static_cast<size_t>(missing);
}

absl::StatusOr<std::string> Fill(const Value& subject, const BoundArguments& arguments) {
  if (arguments.Get(1) == nullptr) return std::string(" ");
  SHIRA_ASSIGN_OR_RETURN(std::string fill, RequiredText(arguments, 1));
  if (subject.is_markup()) fill = EscapeHtml(fill);
  if (CodePointCount(fill) == 1) return fill;
  return absl::InvalidArgumentError("the fill character must be one character");
}

std::string Times(std::string_view text, size_t count) {
  std::string repeated;
  for (size_t i = 0; i < count; ++i) repeated += text;
  return repeated;
}

enum class Justify { kLeft, kRight, kCenter };
template <Justify kJustify>
Result JustifyMethod(Runtime&, const Value& subject, const BoundArguments& arguments) {
  SHIRA_ASSIGN_OR_RETURN(const size_t missing, Missing(subject, arguments));
  SHIRA_ASSIGN_OR_RETURN(const std::string fill, Fill(subject, arguments));
  size_t left = kJustify == Justify::kLeft ? 0 : missing;
  if (kJustify == Justify::kCenter) {
    // The odd character goes to the left if the width is odd.
    SHIRA_ASSIGN_OR_RETURN(const int64_t width, arguments.Integer(0, 0));
    left = missing / 2 + (missing & static_cast<size_t>(width) & 1);
  }
  return Value::String(StrCat(Times(fill, left), subject.text(), Times(fill, missing - left)));
}

Result ZeroFill(Runtime&, const Value& subject, const BoundArguments& arguments) {
  SHIRA_ASSIGN_OR_RETURN(const size_t missing, Missing(subject, arguments));
  std::string text = subject.text();
  const bool has_sign = !text.empty() && (text[0] == '+' || text[0] == '-');
  text.insert(has_sign ? 1 : 0, missing, '0');
  return Value::String(std::move(text));
}

}  // namespace

const BuiltinTable& StringMethods() {
  static const BuiltinTable& table = *new BuiltinTable({
      {"capitalize", "", MapText<Capitalize>},
      {"center", "/width! /fill", JustifyMethod<Justify::kCenter>},
      {"count", "/text! /start /end", CountMethod},
      {"endswith", "/suffix! /start /end", HasAffix<true>},
      {"find", "/text! /start /end", FindMethod<false, false>},
      {"format", "*", FormatMethod},
      {"index", "/text! /start /end", FindMethod<false, true>},
      {"isalnum", "", TextIs<IsAlnum>},
      {"isalpha", "", TextIs<IsAlpha>},
      {"isascii", "", TextIs<IsAsciiText>},
      {"isdecimal", "", TextIs<IsDecimal>},
      {"isdigit", "", TextIs<IsDigit>},
      {"isidentifier", "", TextIs<IsIdentifier>},
      {"islower", "", TextIs<IsLower>},
      {"isnumeric", "", TextIs<IsNumeric>},
      {"isspace", "", TextIs<IsAllSpace>},
      {"istitle", "", TextIs<IsTitle>},
      {"isupper", "", TextIs<IsUpper>},
      {"join", "/iterable!", JoinMethod},
      {"ljust", "/width! /fill", JustifyMethod<Justify::kLeft>},
      {"lower", "", MapText<Lower>},
      {"lstrip", "/chars", StripMethod<Side::kLeft>},
      {"partition", "/sep!", Partition<false>},
      {"removeprefix", "/prefix!", RemoveAffix<false>},
      {"removesuffix", "/suffix!", RemoveAffix<true>},
      {"replace", "/old! /new! /count", ReplaceMethod},
      {"rfind", "/text! /start /end", FindMethod<true, false>},
      {"rindex", "/text! /start /end", FindMethod<true, true>},
      {"rjust", "/width! /fill", JustifyMethod<Justify::kRight>},
      {"rpartition", "/sep!", Partition<true>},
      {"rsplit", "sep maxsplit", SplitMethod<true>},
      {"rstrip", "/chars", StripMethod<Side::kRight>},
      {"split", "sep maxsplit", SplitMethod<false>},
      {"splitlines", "keepends", SplitLinesMethod},
      {"startswith", "/prefix! /start /end", HasAffix<false>},
      {"strip", "/chars", StripMethod<Side::kBoth>},
      {"swapcase", "", MapText<SwapCase>},
      {"title", "", MapText<Title>},
      {"upper", "", MapText<Upper>},
      {"zfill", "/width!", ZeroFill},
  });
  return table;
}

}  // namespace shira::jinja
