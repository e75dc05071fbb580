// The global functions.

#include <cstring>
#include <ctime>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/status_macros.h"
#include "base/strings.h"
#include "server/jinja/builtins.h"
#include "server/jinja/object.h"
#include "server/jinja/text.h"
#include "server/tokenizer/utf8.h"

namespace shira::jinja {
namespace {

using Result = absl::StatusOr<Value>;

Result RangeFunction(Runtime&, const Value&, const BoundArguments& arguments) {
  const std::vector<Value>& given = arguments.rest().positional;
  if (!arguments.rest().named.empty() || given.empty() || given.size() > 3) {
    return absl::InvalidArgumentError("takes one to three positional arguments");
  }
  for (const Value& value : given) {
    if (value.is_undefined()) return UndefinedError(value);
    if (!value.is_integral()) {
      return absl::InvalidArgumentError(
          StrCat("expected an integer, found '", TypeName(value), "'"));
    }
  }
  Range range;
  if (given.size() == 1) {
    range.stop = given[0].integer();
  } else {
    range.start = given[0].integer();
    range.stop = given[1].integer();
    if (given.size() == 3) range.step = given[2].integer();
  }
  if (range.step == 0) return absl::InvalidArgumentError("a step of zero");
  if (range.size() > kMaxRangeItems) {
    return absl::ResourceExhaustedError(StrCat("a range of more than ", kMaxRangeItems, " items"));
  }
  return Value::FromRange(range);
}

// dict(...) of Python: a mapping or an iterable of pairs, then named entries.
absl::StatusOr<Dict> MakeDict(Runtime& runtime, const Arguments& arguments) {
  if (arguments.positional.size() > 1) {
    return absl::InvalidArgumentError("takes at most one positional argument");
  }
  Dict dict;
  for (const Value& source : arguments.positional) {
    if (source.is_undefined()) return UndefinedError(source);
    if (source.kind() == Kind::kDict) {
      dict = source.dict();
      continue;
    }
    SHIRA_ASSIGN_OR_RETURN(const std::vector<Value> pairs, ToVector(source, runtime.budget()));
    for (const Value& pair : pairs) {
      SHIRA_ASSIGN_OR_RETURN(const std::vector<Value> parts, ToVector(pair, runtime.budget()));
      if (parts.size() != 2) return absl::InvalidArgumentError("expected pairs of key and value");
      SHIRA_RETURN_IF_ERROR(dict.Set(parts[0], parts[1]));
    }
  }
  for (const auto& [name, value] : arguments.named) dict.Set(name, value);
  SHIRA_RETURN_IF_ERROR(runtime.budget().SpendBytes(dict.size() * sizeof(Dict::Entry)));
  return dict;
}

Result DictFunction(Runtime& runtime, const Value&, const BoundArguments& arguments) {
  SHIRA_ASSIGN_OR_RETURN(Dict dict, MakeDict(runtime, arguments.rest()));
  return Value::FromDict(std::move(dict));
}

Result NamespaceFunction(Runtime& runtime, const Value&, const BoundArguments& arguments) {
  SHIRA_ASSIGN_OR_RETURN(Dict attributes, MakeDict(runtime, arguments.rest()));
  for (const auto& [name, value] : attributes.entries()) {
    // Set() knows which names are refused.
    if (name.is_string()) SHIRA_RETURN_IF_ERROR(Namespace(Dict()).Set(name.text(), value));
  }
  return runtime.NewNamespace(std::move(attributes));
}

Result CyclerFunction(Runtime&, const Value&, const BoundArguments& arguments) {
  const Arguments& rest = arguments.rest();
  if (rest.positional.empty() || !rest.named.empty()) {
    return absl::InvalidArgumentError("takes one or more positional arguments");
  }
  return Value::FromObject(std::make_shared<Cycler>(Value::Tuple(rest.positional)));
}

Result JoinerFunction(Runtime&, const Value&, const BoundArguments& arguments) {
  return Value::FromObject(std::make_shared<Joiner>(arguments.Or(0, Value::String(", "))));
}

Result RaiseException(Runtime&, const Value&, const BoundArguments& arguments) {
  SHIRA_ASSIGN_OR_RETURN(const std::string message, Str(arguments.Required(0)));
  return absl::InvalidArgumentError(message);
}

// The local time in the format of C's strftime, as Python's datetime.now().strftime(): a time
// without zone, whose zone fields are empty.
Result StrftimeNow(Runtime& runtime, const Value&, const BoundArguments& arguments) {
  const Value& format_value = arguments.Required(0);
  if (!format_value.is_string()) return absl::InvalidArgumentError("takes a string");
  std::string format;
  const std::string& given = format_value.text();
  if (given.size() > 1000 || given.find('\0') != std::string::npos) {
    return absl::InvalidArgumentError("takes a format of at most 1000 characters without NUL");
  }
  const int64_t nanoseconds =
      absl::ToInt64Nanoseconds(runtime.now() - absl::FromTimeT(absl::ToTimeT(runtime.now())));
  for (size_t i = 0; i < given.size(); ++i) {
    if (given[i] != '%' || i + 1 == given.size()) {
      format += given[i];
      continue;
    }
    const char field = given[++i];
    if (field == 'z' || field == 'Z') continue;
    if (field == 'f') {
      const std::string digits = StrCat(nanoseconds / 1000 + 1'000'000);
      format += digits.substr(1);
    } else {
      format += '%';
      format += field;
    }
  }
  // The C library's zone and not abseil's, which does not know every form of TZ.
  const std::time_t seconds = absl::ToTimeT(runtime.now());
  std::tm time = {};
  if (localtime_r(&seconds, &time) == nullptr || time.tm_year < 1000 - 1900 ||
      time.tm_year > 9999 - 1900) {
    return absl::InvalidArgumentError("the time is outside of the years 1000 to 9999");
  }
  time.tm_isdst = -1;
  // strftime gives 0 for an empty result and for a small buffer alike: the sentinel tells them
  // apart.
  format += '.';
  std::string text(64 * format.size() + 64, '\0');
  const size_t size = std::strftime(text.data(), text.size(), format.c_str(), &time);
  if (size == 0) return absl::InvalidArgumentError("the formatted time is too long");
  text.resize(size - 1);
  if (FirstInvalidUtf8(text).has_value())
    return absl::InvalidArgumentError("the formatted time is not UTF-8");
  return Value::String(std::move(text));
}

}  // namespace

const BuiltinTable& GlobalFunctions() {
  static const BuiltinTable& table = *new BuiltinTable({
      {"cycler", "*", CyclerFunction},
      {"dict", "*", DictFunction},
      {"joiner", "sep", JoinerFunction},
      {"namespace", "*", NamespaceFunction},
      {"raise_exception", "message!", RaiseException},
      {"range", "*", RangeFunction},
      {"strftime_now", "format!", StrftimeNow},
  });
  return table;
}

}  // namespace shira::jinja
