#include "server/jinja/json.h"

#include <cmath>
#include <utility>
#include <vector>

#include "absl/strings/str_format.h"
#include "base/status_macros.h"
#include "base/strings.h"
#include "nlohmann/json.hpp"
#include "server/jinja/numbers.h"
#include "server/jinja/sort.h"
#include "server/jinja/text.h"
#include "server/tokenizer/utf8.h"

namespace shira::jinja {
namespace {

// Builds values while nlohmann's parser reads, which keeps the order of keys and sees integers
// before they lose digits.
class Builder : public nlohmann::json_sax<nlohmann::json> {
 public:
  // Takes from `values_left` what it builds.
  explicit Builder(int64_t& values_left) : values_left_(values_left) {}

  bool null() override { return Add(Value::None()); }
  bool boolean(bool value) override { return Add(Value::Bool(value)); }
  bool number_integer(number_integer_t value) override { return Add(Value::Int(value)); }
  bool number_unsigned(number_unsigned_t value) override {
    if (value > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) return TooLarge();
    return Add(Value::Int(static_cast<int64_t>(value)));
  }
  bool number_float(number_float_t value, const string_t& text) override {
    // An integer of more than 64 bits comes here as well.
    if (text.find_first_of(".eE") == std::string::npos) return TooLarge();
    return Add(Value::Float(value));
  }
  bool string(string_t& value) override { return Add(Value::String(std::move(value))); }
  bool binary(binary_t&) override { return false; }  // not in JSON text
  bool start_object(std::size_t) override { return Open(true); }
  bool start_array(std::size_t) override { return Open(false); }
  bool key(string_t& key) override {
    open_.back().key = std::move(key);
    return true;
  }
  bool end_object() override { return Close(); }
  bool end_array() override { return Close(); }
  bool parse_error(std::size_t position, const std::string&,
                   const nlohmann::detail::exception&) override {
    status_ = absl::InvalidArgumentError(StrCat("malformed JSON at byte ", position));
    return false;
  }

  absl::StatusOr<Value> Take() && {
    if (!status_.ok()) return status_;
    return std::move(root_);
  }

 private:
  struct Container {
    bool is_object = false;
    std::string key;
    Dict dict;
    std::vector<Value> items;
  };

  bool TooLarge() {
    status_ = absl::InvalidArgumentError("a JSON integer of more than 64 bits");
    return false;
  }

  bool Open(bool is_object) {
    if (open_.size() >= static_cast<size_t>(kMaxJsonDepth)) {
      status_ =
          absl::InvalidArgumentError(StrCat("JSON nested in more than ", kMaxJsonDepth, " levels"));
      return false;
    }
    open_.emplace_back();
    open_.back().is_object = is_object;
    return true;
  }

  bool Close() {
    Container closed = std::move(open_.back());
    open_.pop_back();
    return Add(closed.is_object ? Value::FromDict(std::move(closed.dict))
                                : Value::List(std::move(closed.items)));
  }

  bool Add(Value value) {
    if (--values_left_ < 0) {
      status_ = absl::InvalidArgumentError(
          StrCat("JSON of more than ", kMaxJsonValues, " values in one request"));
      return false;
    }
    if (open_.empty()) {
      root_ = std::move(value);
    } else if (open_.back().is_object) {
      open_.back().dict.Set(std::move(open_.back().key), std::move(value));
    } else {
      open_.back().items.push_back(std::move(value));
    }
    return true;
  }

  int64_t& values_left_;
  std::vector<Container> open_;
  Value root_;
  absl::Status status_;
};

class Writer {
 public:
  Writer(const JsonStyle& style, Budget& budget) : style_(style), budget_(budget) {}

  absl::Status Write(const Value& value, int level) {
    SHIRA_RETURN_IF_ERROR(budget_.Spend(1));
    SHIRA_RETURN_IF_ERROR(CheckStringBytes(json_.size()));
    switch (value.kind()) {
      case Kind::kNone:
      case Kind::kBool:
      case Kind::kInt:
      case Kind::kFloat:
        json_ += Scalar(value);
        return absl::OkStatus();
      case Kind::kString:
        WriteString(value.text());
        return absl::OkStatus();
      case Kind::kList:
      case Kind::kTuple:
        return WriteItems(value.items(), level);
      case Kind::kDict:
        return WriteDict(value.dict(), level);
      default:
        return absl::InvalidArgumentError(
            StrCat("a value of type '", TypeName(value), "' has no JSON form"));
    }
  }

  std::string Take() { return std::move(json_); }

 private:
  static std::string Scalar(const Value& value) {
    switch (value.kind()) {
      case Kind::kNone:
        return "null";
      case Kind::kBool:
        return value.boolean() ? "true" : "false";
      case Kind::kInt:
        return StrCat(value.integer());
      default:
        break;
    }
    const double number = value.number();
    if (std::isnan(number)) return "NaN";
    if (std::isinf(number)) return number > 0 ? "Infinity" : "-Infinity";
    return ReprFloat(number);
  }

  void NewLine(int level) {
    if (!style_.indent) return;
    json_ += '\n';
    for (int i = 0; i < level; ++i) json_ += *style_.indent;
  }

  absl::Status WriteItems(const std::vector<Value>& items, int level) {
    if (items.empty()) {
      json_ += "[]";
      return absl::OkStatus();
    }
    json_ += '[';
    for (size_t i = 0; i < items.size(); ++i) {
      if (i > 0) json_ += style_.item_separator;
      NewLine(level + 1);
      SHIRA_RETURN_IF_ERROR(Write(items[i], level + 1));
    }
    NewLine(level);
    json_ += ']';
    return absl::OkStatus();
  }

  absl::Status WriteDict(const Dict& dict, int level) {
    if (dict.size() == 0) {
      json_ += "{}";
      return absl::OkStatus();
    }
    std::vector<size_t> order(dict.size());
    for (size_t i = 0; i < order.size(); ++i) order[i] = i;
    if (style_.sort_keys) {
      std::vector<Value> keys;
      for (const Dict::Entry& entry : dict.entries()) keys.push_back(entry.first);
      SHIRA_ASSIGN_OR_RETURN(order, SortedOrder(keys, false, budget_));
    }
    json_ += '{';
    for (size_t i = 0; i < order.size(); ++i) {
      const auto& [key, value] = dict.entries()[order[i]];
      if (i > 0) json_ += style_.item_separator;
      NewLine(level + 1);
      if (key.is_string()) {
        WriteString(key.text());
      } else if (key.is_none() || key.is_number()) {
        WriteString(Scalar(key));
      } else {
        return absl::InvalidArgumentError(
            StrCat("a key of type '", TypeName(key), "' has no JSON form"));
      }
      json_ += style_.key_separator;
      SHIRA_RETURN_IF_ERROR(Write(value, level + 1));
    }
    NewLine(level);
    json_ += '}';
    return absl::OkStatus();
  }

  void WriteString(std::string_view text) {
    json_ += '"';
    for (size_t position = 0; position < text.size();) {
      const size_t start = position;
      const char32_t c = NextCharacter(text, &position);
      switch (c) {
        case '"':
          json_ += "\\\"";
          break;
        case '\\':
          json_ += "\\\\";
          break;
        case '\n':
          json_ += "\\n";
          break;
        case '\r':
          json_ += "\\r";
          break;
        case '\t':
          json_ += "\\t";
          break;
        case '\f':
          json_ += "\\f";
          break;
        case '\b':
          json_ += "\\b";
          break;
        default:
          if (c < 0x20 || (c > 0x7E && style_.ensure_ascii)) {
            WriteEscape(c);
          } else {
            json_ += text.substr(start, position - start);
          }
      }
    }
    json_ += '"';
  }

  void WriteEscape(char32_t c) {
    if (c < 0x10000) {
      absl::StrAppendFormat(&json_, "\\u%04x", static_cast<uint32_t>(c));
    } else {
      const uint32_t offset = static_cast<uint32_t>(c) - 0x10000;
      absl::StrAppendFormat(&json_, "\\u%04x\\u%04x", 0xD800 + (offset >> 10),
                            0xDC00 + (offset & 0x3FF));
    }
  }

  const JsonStyle& style_;
  Budget& budget_;
  std::string json_;
};

}  // namespace

absl::StatusOr<Value> JsonReader::Read(std::string_view json) {
  Builder builder(values_left_);
  const bool parsed = nlohmann::json::sax_parse(json.begin(), json.end(), &builder);
  absl::StatusOr<Value> value = std::move(builder).Take();
  if (value.ok() && !parsed) return absl::InvalidArgumentError("malformed JSON");
  return value;
}

absl::StatusOr<std::string> DumpJson(const Value& value, const JsonStyle& style, Budget& budget) {
  Writer writer(style, budget);
  SHIRA_RETURN_IF_ERROR(writer.Write(value, 0));
  std::string json = writer.Take();
  SHIRA_RETURN_IF_ERROR(CheckStringBytes(json.size()));
  return json;
}

}  // namespace shira::jinja
