// The filters that make text.

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/status_macros.h"
#include "base/strings.h"
#include "server/jinja/builtins.h"
#include "server/jinja/format.h"
#include "server/jinja/json.h"
#include "server/jinja/object.h"
#include "server/jinja/text.h"
#include "server/tokenizer/utf8.h"

namespace shira::jinja {
namespace {

using Result = absl::StatusOr<Value>;

template <std::string (*kMap)(std::string_view)>
Result MapText(Runtime&, const Value& subject, const BoundArguments&) {
  SHIRA_ASSIGN_OR_RETURN(const Value text, SoftString(subject));
  return MarkAs(text, Value::String(kMap(text.text())));
}

// do_title splits at fewer places than str.title: after white space, '-', and opening brackets.
Result TitleFilter(Runtime&, const Value& subject, const BoundArguments&) {
  SHIRA_ASSIGN_OR_RETURN(const std::string text, Str(subject));
  const auto separates = [](char32_t c) {
    return IsSpace(c) || c == '-' || c == '(' || c == '{' || c == '[' || c == '<';
  };
  std::string title;
  for (size_t position = 0; position < text.size();) {
    const size_t start = position;
    const bool separator = separates(NextCharacter(text, &position));
    const size_t first_end = position;
    for (size_t next = position; next < text.size(); position = next) {
      if (separates(NextCharacter(text, &next)) != separator) break;
    }
    StrAppend(&title, Upper(std::string_view(text).substr(start, first_end - start)),
              Lower(std::string_view(text).substr(first_end, position - first_end)));
  }
  return Value::String(std::move(title));
}

Result StringFilter(Runtime&, const Value& subject, const BoundArguments&) {
  return SoftString(subject);
}

Result Trim(Runtime&, const Value& subject, const BoundArguments& arguments) {
  SHIRA_ASSIGN_OR_RETURN(const Value text, SoftString(subject));
  SHIRA_ASSIGN_OR_RETURN(const std::optional<std::string> characters, arguments.Text(0));
  return MarkAs(text, Value::String(std::string(Strip(text.text(), Side::kBoth, characters))));
}

Result ReplaceFilter(Runtime&, const Value& subject, const BoundArguments& arguments) {
  SHIRA_ASSIGN_OR_RETURN(const std::string text, Str(subject));
  SHIRA_ASSIGN_OR_RETURN(const std::string from, Str(arguments.Required(0)));
  SHIRA_ASSIGN_OR_RETURN(const std::string to, Str(arguments.Required(1)));
  SHIRA_ASSIGN_OR_RETURN(const int64_t count, arguments.Integer(2, -1));
  std::optional<std::string> replaced = Replace(text, from, to, count, kMaxStringBytes);
  if (!replaced) return CheckStringBytes(kMaxStringBytes + 1);
  return Value::String(*std::move(replaced));
}

Result Center(Runtime& runtime, const Value& subject, const BoundArguments& arguments) {
  SHIRA_ASSIGN_OR_RETURN(const Value text, SoftString(subject));
  Arguments width;
  width.positional.push_back(arguments.Or(0, Value::Int(80)));
  SHIRA_ASSIGN_OR_RETURN(
      Value centered, runtime.CallBuiltin(*StringMethods().Find("center"), text, std::move(width)));
  return MarkAs(text, std::move(centered));
}

Result Indent(Runtime&, const Value& subject, const BoundArguments& arguments) {
  if (subject.is_undefined()) return UndefinedError(subject);
  if (!subject.is_string()) {
    return absl::InvalidArgumentError(StrCat("expected a string, found '", TypeName(subject), "'"));
  }
  std::string indentation;
  if (const Value* width = arguments.Get(0); width != nullptr && width->is_string()) {
    indentation = width->text();
  } else {
    if (width != nullptr && width->is_none()) {
      return absl::InvalidArgumentError("expected a width, found 'NoneType'");
    }
    SHIRA_ASSIGN_OR_RETURN(const int64_t spaces, arguments.Integer(0, 4));
    const auto size = static_cast<size_t>(spaces < 0 ? 0 : spaces);
    SHIRA_RETURN_IF_ERROR(CheckStringBytes(size));
    indentation.assign(size, ' ');
  }
  const bool first = arguments.IsTrue(1);
  const bool blank = arguments.IsTrue(2);
  // The newline at the end makes an empty last line count as a line.
  const std::vector<std::string> lines = SplitLines(StrCat(subject.text(), "\n"), false);
  std::string text;
  for (size_t i = 0; i < lines.size(); ++i) {
    if (i > 0) text += '\n';
    if (i == 0 ? first : (blank || !lines[i].empty())) text += indentation;
    text += lines[i];
    SHIRA_RETURN_IF_ERROR(CheckStringBytes(text.size()));
  }
  return MarkAs(subject, Value::String(std::move(text)));
}

Result Format(Runtime& runtime, const Value& subject, const BoundArguments& arguments) {
  const Arguments& rest = arguments.rest();
  if (!rest.positional.empty() && !rest.named.empty()) {
    return absl::InvalidArgumentError("takes positional or named arguments, not both");
  }
  SHIRA_ASSIGN_OR_RETURN(const Value format, SoftString(subject));
  if (format.is_markup()) {
    return absl::UnimplementedError("formatting text that is marked as safe");
  }
  Value values = Value::Tuple(rest.positional);
  if (!rest.named.empty()) {
    Dict named;
    for (const auto& [name, value] : rest.named) named.Set(name, value);
    values = Value::FromDict(std::move(named));
  }
  SHIRA_ASSIGN_OR_RETURN(std::string text, FormatPercent(format.text(), values, runtime.budget()));
  return Value::String(std::move(text));
}

Result Safe(Runtime&, const Value& subject, const BoundArguments&) {
  SHIRA_ASSIGN_OR_RETURN(std::string text, Str(subject));
  return Value::Markup(std::move(text));
}

Result Escape(Runtime&, const Value& subject, const BoundArguments&) {
  if (subject.is_markup()) return subject;
  SHIRA_ASSIGN_OR_RETURN(const std::string text, Str(subject));
  return Value::Markup(EscapeHtml(text));
}

Result ForceEscape(Runtime&, const Value& subject, const BoundArguments&) {
  SHIRA_ASSIGN_OR_RETURN(const std::string text, Str(subject));
  return Value::Markup(EscapeHtml(text));
}

Result WordCount(Runtime&, const Value& subject, const BoundArguments&) {
  SHIRA_ASSIGN_OR_RETURN(const std::string text, Str(subject));
  int64_t words = 0;
  bool inside = false;
  for (size_t position = 0; position < text.size();) {
    const size_t start = position;
    const char32_t c = NextCharacter(text, &position);
    const bool word = c == '_' || IsAlnum(std::string_view(text).substr(start, position - start));
    words += word && !inside ? 1 : 0;
    inside = word;
  }
  return Value::Int(words);
}

// transformers' own tojson: json.dumps without the escapes for HTML that jinja2's has.
Result ToJson(Runtime& runtime, const Value& subject, const BoundArguments& arguments) {
  JsonStyle style;
  style.ensure_ascii = arguments.IsTrue(0);
  style.sort_keys = arguments.IsTrue(3);
  if (const Value* indent = arguments.Get(1); indent != nullptr && !indent->is_none()) {
    if (indent->is_string()) {
      style.indent = indent->text();
    } else {
      SHIRA_ASSIGN_OR_RETURN(const int64_t spaces, arguments.Integer(1, 0));
      const auto size = static_cast<size_t>(spaces < 0 ? 0 : spaces);
      SHIRA_RETURN_IF_ERROR(CheckStringBytes(size));
      style.indent = std::string(size, ' ');
    }
    style.item_separator = std::string(1, ',');
  }
  if (const Value* given = arguments.Get(2); given != nullptr && !given->is_none()) {
    SHIRA_ASSIGN_OR_RETURN(const std::vector<Value> separators, ToVector(*given, runtime.budget()));
    if (separators.size() != 2 || !separators[0].is_string() || !separators[1].is_string()) {
      return absl::InvalidArgumentError("separators takes two strings");
    }
    style.item_separator = separators[0].text();
    style.key_separator = separators[1].text();
  }
  SHIRA_ASSIGN_OR_RETURN(std::string json, DumpJson(subject, style, runtime.budget()));
  return Value::String(std::move(json));
}

}  // namespace

Value MarkAs(const Value& receiver, Value result) {
  if (!receiver.is_markup()) return result;
  if (result.is_string()) return Value::Markup(result.text());
  if (!result.is_sequence()) return result;
  std::vector<Value> items;
  for (const Value& item : result.items()) items.push_back(MarkAs(receiver, item));
  return result.kind() == Kind::kList ? Value::List(std::move(items))
                                      : Value::Tuple(std::move(items));
}

absl::StatusOr<Value> SoftString(const Value& value) {
  if (value.is_string()) return value;
  SHIRA_ASSIGN_OR_RETURN(std::string text, Str(value));
  return Value::String(std::move(text));
}

const BuiltinTable& TextFilters() {
  static const BuiltinTable& table = *new BuiltinTable({
      {"capitalize", "", MapText<Capitalize>},
      {"center", "width", Center},
      {"escape e", "", Escape},
      {"forceescape", "", ForceEscape},
      {"format", "*", Format},
      {"indent", "width first blank", Indent},
      {"lower", "", MapText<Lower>},
      {"replace", "old! new! count", ReplaceFilter},
      {"safe", "", Safe},
      {"string", "", StringFilter},
      {"title", "", TitleFilter},
      {"tojson", "ensure_ascii indent separators sort_keys", ToJson},
      {"trim", "chars", Trim},
      {"upper", "", MapText<Upper>},
      {"wordcount", "", WordCount},
  });
  return table;
}

}  // namespace shira::jinja
