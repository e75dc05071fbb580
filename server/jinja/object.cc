#include "server/jinja/object.h"

#include "base/status_macros.h"
#include "base/strings.h"
#include "server/jinja/text.h"
#include "server/tokenizer/utf8.h"

namespace shira::jinja {
namespace {

Value ViewItem(const View& view, size_t index) {
  const auto& [key, value] = view.dict->entries()[index];
  switch (view.of) {
    case View::Of::kKeys:
      return key;
    case View::Of::kValues:
      return value;
    case View::Of::kItems:
      return Value::Tuple({key, value});
  }
  return key;
}

// An iterator over `size` items that `item` gives by index.
template <typename Item>
std::shared_ptr<Iterator> Indexed(std::string type_name, int depth, int64_t size, Item item) {
  return std::make_shared<Iterator>(
      std::move(type_name), depth,
      [size, item = std::move(item),
       index = int64_t{0}]() mutable -> absl::StatusOr<std::optional<Value>> {
        if (index >= size) return std::nullopt;
        return std::optional<Value>(item(index++));
      });
}

}  // namespace

Value Generator(int depth, Iterator::Next next) {
  return Value::FromObject(std::make_shared<Iterator>("generator", depth, std::move(next)));
}

absl::StatusOr<std::shared_ptr<Iterator>> Iterate(const Value& value) {
  const int depth = value.depth();
  switch (value.kind()) {
    case Kind::kUndefined:
      return Indexed("generator", depth, 0, [](int64_t) { return Value(); });
    case Kind::kString:
      return std::make_shared<Iterator>(
          "str_iterator", depth,
          [value, position = size_t{0}]() mutable -> absl::StatusOr<std::optional<Value>> {
            const std::string& text = value.text();
            if (position >= text.size()) return std::nullopt;
            const size_t start = position;
            NextCharacter(text, &position);
            return std::optional<Value>(Value::String(text.substr(start, position - start)));
          });
    case Kind::kList:
    case Kind::kTuple:
      return Indexed("list_iterator", depth, *SizeOf(value),
                     [value](int64_t index) { return value.items()[index]; });
    case Kind::kDict:
      return Indexed("dict_keyiterator", depth, *SizeOf(value),
                     [value](int64_t index) { return value.dict().entries()[index].first; });
    case Kind::kView:
      return Indexed("dict_iterator", depth, *SizeOf(value), [value](int64_t index) {
        return ViewItem(value.view(), static_cast<size_t>(index));
      });
    case Kind::kRange:
      return Indexed("range_iterator", depth, *SizeOf(value),
                     [value](int64_t index) { return Value::Int(value.range().at(index)); });
    default:
      if (auto iterator = value.As<Iterator>()) return iterator;
      return absl::InvalidArgumentError(StrCat("'", TypeName(value), "' object is not iterable"));
  }
}

bool IsIterable(const Value& value) {
  return SizeOf(value).has_value() || value.As<Iterator>() != nullptr ||
         value.As<Loop>() != nullptr;
}

absl::StatusOr<std::vector<Value>> ToVector(const Value& value, Budget& budget) {
  if (value.is_sequence()) {
    SHIRA_RETURN_IF_ERROR(budget.SpendBytes(ShallowBytes(value)));
    return value.items();
  }
  SHIRA_ASSIGN_OR_RETURN(const std::shared_ptr<Iterator> iterator, Iterate(value));
  std::vector<Value> items;
  while (true) {
    SHIRA_RETURN_IF_ERROR(budget.Spend(1));
    SHIRA_ASSIGN_OR_RETURN(std::optional<Value> item, (*iterator)());
    if (!item) return items;
    items.push_back(*std::move(item));
    SHIRA_RETURN_IF_ERROR(CheckListItems(items.size()));
  }
}

absl::Status Namespace::Set(std::string_view name, Value value) {
  if (name.starts_with("_")) {
    return absl::InvalidArgumentError(StrCat(
        "a namespace takes no attribute that starts with an underscore, found '", name, "'"));
  }
  attributes_.Set(std::string(name), std::move(value));
  return absl::OkStatus();
}

absl::Status Loop::Peek() {
  if (after_) return absl::OkStatus();
  SHIRA_ASSIGN_OR_RETURN(after_, (*source_)());
  return absl::OkStatus();
}

absl::StatusOr<bool> Loop::Advance() {
  SHIRA_RETURN_IF_ERROR(Peek());
  if (!after_) return false;
  ++index_;
  before_ = std::move(current_);
  current_ = *std::move(after_);
  after_.reset();
  return true;
}

absl::StatusOr<int64_t> Loop::Size(Budget& budget) {
  if (size_) return *size_;
  // Without a size the rest is read now and served from memory.
  SHIRA_ASSIGN_OR_RETURN(std::vector<Value> rest, ToVector(Value::FromObject(source_), budget));
  size_ = static_cast<int64_t>(rest.size()) + index_ + 1 + (after_ ? 1 : 0);
  SHIRA_ASSIGN_OR_RETURN(source_, Iterate(Value::List(std::move(rest))));
  return *size_;
}

Value Loop::Previous() const {
  return index_ == 0 ? Value::Undefined("there is no previous item") : before_;
}

absl::StatusOr<Value> Loop::Next() {
  SHIRA_RETURN_IF_ERROR(Peek());
  return after_ ? *after_ : Value::Undefined("there is no next item");
}

absl::StatusOr<bool> Loop::IsLast() {
  SHIRA_RETURN_IF_ERROR(Peek());
  return !after_.has_value();
}

absl::StatusOr<bool> Loop::Changed(const Value& arguments, Budget& budget) {
  if (last_changed_) {
    SHIRA_ASSIGN_OR_RETURN(const bool same, Equals(*last_changed_, arguments, budget));
    if (same) return false;
  }
  last_changed_ = arguments;
  return true;
}

void Loop::Clear() {
  source_ = Indexed("generator", 0, 0, [](int64_t) { return Value(); });
  before_ = current_ = Value();
  after_.reset();
  last_changed_.reset();
}

Value Joiner::Join() {
  if (used_) return separator_;
  used_ = true;
  return Value::String("");
}

bool IsCallable(const Value& value) {
  return value.is_undefined() || value.As<Macro>() != nullptr || value.As<Function>() != nullptr ||
         value.As<Joiner>() != nullptr || value.As<Loop>() != nullptr;
}

}  // namespace shira::jinja
