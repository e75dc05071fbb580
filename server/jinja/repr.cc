// How values print: str() and repr() of Python.

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/status_macros.h"
#include "base/strings.h"
#include "server/jinja/numbers.h"
#include "server/jinja/object.h"
#include "server/jinja/text.h"
#include "server/jinja/value.h"

namespace shira::jinja {
namespace {

// Prints nested values into one string and stops at the bounds.
class Printer {
 public:
  absl::Status Print(const Value& value) {
    if (++depth_ > kMaxValueDepth) {
      return absl::ResourceExhaustedError("printing a value that is nested too deeply");
    }
    SHIRA_RETURN_IF_ERROR(PrintOne(value));
    --depth_;
    return CheckStringBytes(text_.size());
  }

  std::string Take() { return std::move(text_); }

 private:
  absl::Status PrintOne(const Value& value) {
    switch (value.kind()) {
      case Kind::kUndefined:
        text_ += "Undefined";
        return absl::OkStatus();
      case Kind::kNone:
        text_ += "None";
        return absl::OkStatus();
      case Kind::kBool:
        text_ += value.boolean() ? "True" : "False";
        return absl::OkStatus();
      case Kind::kInt:
        StrAppend(&text_, value.integer());
        return absl::OkStatus();
      case Kind::kFloat:
        text_ += ReprFloat(value.number());
        return absl::OkStatus();
      case Kind::kString:
        text_ += value.is_markup() ? StrCat("Markup(", ReprString(value.text()), ")")
                                   : ReprString(value.text());
        return absl::OkStatus();
      case Kind::kList:
        return PrintItems("[", value.items(), "]");
      case Kind::kTuple:
        return PrintItems("(", value.items(), value.items().size() == 1 ? ",)" : ")");
      case Kind::kDict:
        return PrintDict(value.dict());
      case Kind::kRange: {
        const Range& range = value.range();
        StrAppend(&text_, "range(", range.start, ", ", range.stop);
        if (range.step != 1) StrAppend(&text_, ", ", range.step);
        text_ += ")";
        return absl::OkStatus();
      }
      case Kind::kView:
        return PrintView(value);
      case Kind::kObject:
        return PrintObject(value);
    }
    return absl::OkStatus();
  }

  absl::Status PrintItems(std::string_view open, const std::vector<Value>& items,
                          std::string_view close) {
    text_ += open;
    for (size_t i = 0; i < items.size(); ++i) {
      if (i > 0) text_ += ", ";
      SHIRA_RETURN_IF_ERROR(Print(items[i]));
    }
    text_ += close;
    return absl::OkStatus();
  }

  absl::Status PrintDict(const Dict& dict) {
    text_ += "{";
    bool first = true;
    for (const auto& [key, value] : dict.entries()) {
      if (!first) text_ += ", ";
      first = false;
      SHIRA_RETURN_IF_ERROR(Print(key));
      text_ += ": ";
      SHIRA_RETURN_IF_ERROR(Print(value));
    }
    text_ += "}";
    return absl::OkStatus();
  }

  absl::Status PrintView(const Value& value) {
    const View& view = value.view();
    StrAppend(&text_, TypeName(value), "([");
    bool first = true;
    for (const auto& [key, item] : view.dict->entries()) {
      if (!first) text_ += ", ";
      first = false;
      if (view.of == View::Of::kItems) {
        SHIRA_RETURN_IF_ERROR(PrintItems("(", {key, item}, ")"));
      } else {
        SHIRA_RETURN_IF_ERROR(Print(view.of == View::Of::kKeys ? key : item));
      }
    }
    text_ += "])";
    return absl::OkStatus();
  }

  absl::Status PrintObject(const Value& value) {
    if (const auto ns = value.As<Namespace>()) {
      text_ += "<Namespace ";
      SHIRA_RETURN_IF_ERROR(PrintDict(ns->attributes()));
      text_ += ">";
    } else if (const auto loop = value.As<Loop>()) {
      Budget budget;
      SHIRA_ASSIGN_OR_RETURN(const int64_t size, loop->Size(budget));
      StrAppend(&text_, "<LoopContext ", loop->index() + 1, "/", size, ">");
    } else {
      // Python prints an address here; no template depends on it.
      StrAppend(&text_, "<", TypeName(value), " object>");
    }
    return absl::OkStatus();
  }

  std::string text_;
  int depth_ = 0;
};

}  // namespace

absl::StatusOr<std::string> Repr(const Value& value) {
  Printer printer;
  SHIRA_RETURN_IF_ERROR(printer.Print(value));
  return printer.Take();
}

absl::StatusOr<std::string> Str(const Value& value) {
  if (value.is_undefined()) return std::string();
  if (value.is_string()) return value.text();
  return Repr(value);
}

}  // namespace shira::jinja
