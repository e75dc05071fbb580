#include "server/jinja/value.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/status_macros.h"
#include "base/strings.h"
#include "server/jinja/object.h"
#include "server/jinja/text.h"

namespace shira::jinja {

int64_t Range::size() const {
  // In unsigned arithmetic: the bounds can be 64 bits apart.
  const auto first = static_cast<uint64_t>(start);
  const auto last = static_cast<uint64_t>(stop);
  const auto by = static_cast<uint64_t>(step);
  uint64_t size = 0;
  if (step > 0 && start < stop) size = (last - first - 1) / by + 1;
  if (step < 0 && start > stop) size = (first - last - 1) / (0 - by) + 1;
  constexpr uint64_t kLargest = std::numeric_limits<int64_t>::max();
  return static_cast<int64_t>(std::min(size, kLargest));
}

int64_t Range::at(int64_t index) const {
  return static_cast<int64_t>(static_cast<uint64_t>(start) +
                              static_cast<uint64_t>(index) * static_cast<uint64_t>(step));
}

Value Value::Undefined(std::string hint) {
  return Value(Data(Hint{std::make_shared<const std::string>(std::move(hint))}));
}
Value Value::None() { return Value(Data(NoneType{})); }
Value Value::Bool(bool value) { return Value(Data(std::in_place_type<bool>, value)); }
Value Value::Int(int64_t value) { return Value(Data(std::in_place_type<int64_t>, value)); }
Value Value::Float(double value) { return Value(Data(std::in_place_type<double>, value)); }
Value Value::String(std::string text) {
  return Value(Data(std::make_shared<const Text>(Text{std::move(text), false})));
}
Value Value::Markup(std::string text) {
  return Value(Data(std::make_shared<const Text>(Text{std::move(text), true})));
}
Value Value::List(std::vector<Value> items) {
  return Value(Data(ListData{MakeSequence(std::move(items))}));
}
Value Value::Tuple(std::vector<Value> items) {
  return Value(Data(TupleData{MakeSequence(std::move(items))}));
}
Value Value::FromDict(Dict dict) {
  return Value(Data(std::make_shared<const Dict>(std::move(dict))));
}
Value Value::FromRange(Range range) { return Value(Data(range)); }
Value Value::FromView(View view) {
  return Value(Data(std::make_shared<const View>(std::move(view))));
}
Value Value::FromObject(std::shared_ptr<Object> object) { return Value(Data(std::move(object))); }

std::shared_ptr<const Value::Sequence> Value::MakeSequence(std::vector<Value> items) {
  int depth = 0;
  for (const Value& item : items) depth = std::max(depth, item.depth());
  return std::make_shared<const Sequence>(Sequence{std::move(items), depth + 1});
}

bool Value::is_markup() const {
  return is_string() && std::get<std::shared_ptr<const Text>>(data_)->markup;
}

const std::string& Value::undefined_hint() const {
  static const std::string kNoHint = "the value is undefined";
  const Hint& hint = std::get<Hint>(data_);
  return hint.text == nullptr ? kNoHint : *hint.text;
}

int64_t Value::integer() const {
  return kind() == Kind::kBool ? boolean() : std::get<int64_t>(data_);
}

double Value::number() const {
  return kind() == Kind::kFloat ? std::get<double>(data_) : static_cast<double>(integer());
}

const std::string& Value::text() const {
  return std::get<std::shared_ptr<const Text>>(data_)->text;
}

const std::vector<Value>& Value::items() const {
  return kind() == Kind::kList ? std::get<ListData>(data_).sequence->items
                               : std::get<TupleData>(data_).sequence->items;
}

const Dict& Value::dict() const { return *std::get<std::shared_ptr<const Dict>>(data_); }

std::shared_ptr<const Dict> Value::shared_dict() const {
  return std::get<std::shared_ptr<const Dict>>(data_);
}

int Value::depth() const {
  switch (kind()) {
    case Kind::kList:
      return std::get<ListData>(data_).sequence->depth;
    case Kind::kTuple:
      return std::get<TupleData>(data_).sequence->depth;
    case Kind::kDict:
      return dict().depth();
    case Kind::kView:
      return view().dict->depth() + 1;
    case Kind::kObject:
      return object()->depth();
    default:
      return 0;
  }
}

bool Value::IsSame(const Value& other) const {
  if (kind() != other.kind()) return false;
  switch (kind()) {
    case Kind::kUndefined:
      return false;
    case Kind::kNone:
      return true;
    case Kind::kBool:
      return boolean() == other.boolean();
    case Kind::kInt:
      return integer() == other.integer();
    case Kind::kFloat:
      return false;
    case Kind::kString:
      return std::get<std::shared_ptr<const Text>>(data_) ==
                 std::get<std::shared_ptr<const Text>>(other.data_) ||
             text() == other.text();
    case Kind::kList:
    case Kind::kTuple:
      return &items() == &other.items();
    case Kind::kDict:
      return &dict() == &other.dict();
    case Kind::kRange:
      return false;
    case Kind::kView:
      return &view() == &other.view();
    case Kind::kObject:
      return object() == other.object();
  }
  return false;
}

namespace {

// nullopt: any key. Python hashes by value, so equal keys of different number types meet.
absl::Status CheckHashable(const Value& key) {
  switch (key.kind()) {
    case Kind::kList:
    case Kind::kDict:
    case Kind::kView:
      return absl::InvalidArgumentError(StrCat("unhashable type: '", TypeName(key), "'"));
    case Kind::kTuple:
      for (const Value& item : key.items()) {
        if (item.kind() == Kind::kTuple) {
          return absl::UnimplementedError("a tuple of tuples as a dictionary key");
        }
        SHIRA_RETURN_IF_ERROR(CheckHashable(item));
      }
      return absl::OkStatus();
    default:
      return absl::OkStatus();
  }
}

// Equality of hashable values, which are flat: no budget is needed.
bool KeysEqual(const Value& left, const Value& right) {
  if (left.is_number() && right.is_number()) {
    return left.is_integral() && right.is_integral() ? left.integer() == right.integer()
                                                     : left.number() == right.number();
  }
  if (left.kind() != right.kind()) return false;
  if (left.is_undefined()) return true;
  if (left.kind() == Kind::kTuple) {
    return std::equal(left.items().begin(), left.items().end(), right.items().begin(),
                      right.items().end(), KeysEqual);
  }
  if (left.kind() == Kind::kRange) {
    const Range& a = left.range();
    const Range& b = right.range();
    return a.size() == b.size() && (a.size() == 0 || a.start == b.start) &&
           (a.size() <= 1 || a.step == b.step);
  }
  return left.IsSame(right);
}

}  // namespace

std::optional<size_t> Dict::Position(const Value& key) const {
  if (key.is_string()) {
    const auto found = position_of_text_.find(key.text());
    return found == position_of_text_.end() ? std::nullopt : std::optional(found->second);
  }
  for (const size_t position : other_keys_) {
    if (KeysEqual(entries_[position].first, key)) return position;
  }
  return std::nullopt;
}

void Dict::NoteDepth(const Value& value) { depth_ = std::max(depth_, value.depth() + 1); }

void Dict::Append(Value key, Value value) {
  if (key.is_string()) {
    position_of_text_.emplace(key.text(), entries_.size());
  } else {
    other_keys_.push_back(entries_.size());
  }
  NoteDepth(key);
  NoteDepth(value);
  entries_.emplace_back(std::move(key), std::move(value));
}

absl::Status Dict::Set(Value key, Value value) {
  SHIRA_RETURN_IF_ERROR(CheckHashable(key));
  if (const std::optional<size_t> position = Position(key)) {
    NoteDepth(value);
    entries_[*position].second = std::move(value);
  } else {
    Append(std::move(key), std::move(value));
  }
  return absl::OkStatus();
}

void Dict::Set(std::string key, Value value) {
  // A string is always hashable.
  Set(Value::String(std::move(key)), std::move(value)).IgnoreError();
}

absl::StatusOr<const Value*> Dict::Find(const Value& key) const {
  SHIRA_RETURN_IF_ERROR(CheckHashable(key));
  const std::optional<size_t> position = Position(key);
  return position ? &entries_[*position].second : nullptr;
}

const Value* Dict::Find(std::string_view key) const {
  const auto found = position_of_text_.find(ToAbsl(key));
  return found == position_of_text_.end() ? nullptr : &entries_[found->second].second;
}

std::string_view TypeName(const Value& value) {
  switch (value.kind()) {
    case Kind::kUndefined:
      return "Undefined";
    case Kind::kNone:
      return "NoneType";
    case Kind::kBool:
      return "bool";
    case Kind::kInt:
      return "int";
    case Kind::kFloat:
      return "float";
    case Kind::kString:
      return value.is_markup() ? "Markup" : "str";
    case Kind::kList:
      return "list";
    case Kind::kTuple:
      return "tuple";
    case Kind::kDict:
      return "dict";
    case Kind::kRange:
      return "range";
    case Kind::kView:
      switch (value.view().of) {
        case View::Of::kKeys:
          return "dict_keys";
        case View::Of::kValues:
          return "dict_values";
        case View::Of::kItems:
          return "dict_items";
      }
      return "dict_items";
    case Kind::kObject:
      return value.object()->type_name();
  }
  return "object";
}

bool Truthy(const Value& value) {
  switch (value.kind()) {
    case Kind::kUndefined:
    case Kind::kNone:
      return false;
    case Kind::kBool:
    case Kind::kInt:
      return value.integer() != 0;
    case Kind::kFloat:
      return value.number() != 0;
    case Kind::kObject:
      return true;
    default:
      return *SizeOf(value) != 0;
  }
}

std::optional<int64_t> SizeOf(const Value& value) {
  switch (value.kind()) {
    case Kind::kUndefined:
      return 0;
    case Kind::kString:
      return static_cast<int64_t>(CodePointCount(value.text()));
    case Kind::kList:
    case Kind::kTuple:
      return static_cast<int64_t>(value.items().size());
    case Kind::kDict:
      return static_cast<int64_t>(value.dict().size());
    case Kind::kView:
      return static_cast<int64_t>(value.view().dict->size());
    case Kind::kRange:
      return value.range().size();
    default:
      return std::nullopt;
  }
}

size_t ShallowBytes(const Value& value) {
  if (value.is_string()) return value.text().size();
  return static_cast<size_t>(SizeOf(value).value_or(0)) * sizeof(Value);
}

absl::Status UndefinedError(const Value& undefined) {
  return absl::InvalidArgumentError(undefined.undefined_hint());
}

namespace {

absl::StatusOr<bool> ItemsEqual(const std::vector<Value>& left, const std::vector<Value>& right,
                                Budget& budget) {
  if (left.size() != right.size()) return false;
  for (size_t i = 0; i < left.size(); ++i) {
    SHIRA_ASSIGN_OR_RETURN(const bool equal, Equals(left[i], right[i], budget));
    if (!equal) return false;
  }
  return true;
}

absl::StatusOr<bool> DictsEqual(const Dict& left, const Dict& right, Budget& budget) {
  if (left.size() != right.size()) return false;
  for (const auto& [key, value] : left.entries()) {
    SHIRA_ASSIGN_OR_RETURN(const Value* other, right.Find(key));
    if (other == nullptr) return false;
    SHIRA_ASSIGN_OR_RETURN(const bool equal, Equals(value, *other, budget));
    if (!equal) return false;
  }
  return true;
}

// Python's dict_keys compare as sets, dict_items as well; dict_values by identity.
absl::StatusOr<bool> ViewsEqual(const View& left, const View& right, Budget& budget) {
  if (left.of != right.of || left.of == View::Of::kValues) return &left == &right;
  if (left.dict->size() != right.dict->size()) return false;
  if (left.of == View::Of::kItems) return DictsEqual(*left.dict, *right.dict, budget);
  for (const auto& [key, value] : left.dict->entries()) {
    SHIRA_ASSIGN_OR_RETURN(const Value* other, right.dict->Find(key));
    if (other == nullptr) return false;
  }
  return true;
}

absl::Status NotOrdered(const Value& left, const Value& right) {
  if (left.is_undefined()) return UndefinedError(left);
  if (right.is_undefined()) return UndefinedError(right);
  return absl::InvalidArgumentError(
      StrCat("no order between '", TypeName(left), "' and '", TypeName(right), "'"));
}

}  // namespace

absl::StatusOr<bool> Equals(const Value& left, const Value& right, Budget& budget) {
  SHIRA_RETURN_IF_ERROR(budget.Spend(1));
  if (left.is_number() || right.is_number() || left.kind() != right.kind()) {
    return KeysEqual(left, right);
  }
  switch (left.kind()) {
    case Kind::kList:
    case Kind::kTuple:
      if (left.IsSame(right)) return true;
      return ItemsEqual(left.items(), right.items(), budget);
    case Kind::kDict:
      if (left.IsSame(right)) return true;
      return DictsEqual(left.dict(), right.dict(), budget);
    case Kind::kView:
      return ViewsEqual(left.view(), right.view(), budget);
    default:
      return KeysEqual(left, right);
  }
}

absl::StatusOr<bool> Less(const Value& left, const Value& right, Budget& budget) {
  SHIRA_RETURN_IF_ERROR(budget.Spend(1));
  if (left.is_number() && right.is_number()) {
    return left.is_integral() && right.is_integral() ? left.integer() < right.integer()
                                                     : left.number() < right.number();
  }
  if (left.kind() != right.kind()) return NotOrdered(left, right);
  // UTF-8 sorts as its code points do.
  if (left.is_string()) return left.text() < right.text();
  if (!left.is_sequence()) return NotOrdered(left, right);
  const std::vector<Value>& a = left.items();
  const std::vector<Value>& b = right.items();
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    SHIRA_ASSIGN_OR_RETURN(const bool equal, Equals(a[i], b[i], budget));
    if (!equal) return Less(a[i], b[i], budget);
  }
  return a.size() < b.size();
}

}  // namespace shira::jinja
