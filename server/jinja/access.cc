#include "server/jinja/access.h"

#include <algorithm>
#include <array>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/status_macros.h"
#include "base/strings.h"
#include "server/jinja/ast.h"
#include "server/jinja/builtins.h"
#include "server/jinja/object.h"
#include "server/jinja/text.h"
#include "server/tokenizer/utf8.h"

namespace shira::jinja {
namespace {

// Python's attributes that jinja2's immutable sandbox withholds, because a call would change the
// receiver.
constexpr std::array<std::string_view, 8> kListMutators = {"append", "clear", "pop",    "reverse",
                                                           "insert", "sort",  "extend", "remove"};
constexpr std::array<std::string_view, 5> kDictMutators = {"clear", "pop", "popitem", "setdefault",
                                                           "update"};
// Python's attributes that no chat template needs. They are refused rather than taken for absent
// ones.
constexpr std::array<std::string_view, 7> kMissingStringMethods = {
    "casefold", "encode", "expandtabs", "format_map", "maketrans", "translate", "isprintable"};
constexpr std::array<std::string_view, 1> kMissingDictMethods = {"fromkeys"};
constexpr std::array<std::string_view, 13> kMissingNumberMethods = {
    "as_integer_ratio", "bit_count", "bit_length", "conjugate", "denominator",
    "from_bytes",       "fromhex",   "hex",        "imag",      "is_integer",
    "numerator",        "real",      "to_bytes"};
constexpr std::array<std::string_view, 7> kMissingOtherMethods = {
    "mapping", "isdisjoint", "start", "stop", "step", "index", "count"};

template <size_t kSize>
bool Has(const std::array<std::string_view, kSize>& names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

bool IsMutator(const Value& object, std::string_view name) {
  return (object.kind() == Kind::kList && Has(kListMutators, name)) ||
         (object.kind() == Kind::kDict && Has(kDictMutators, name));
}

bool IsMissingMethod(const Value& object, std::string_view name) {
  switch (object.kind()) {
    case Kind::kString:
      return Has(kMissingStringMethods, name);
    case Kind::kDict:
      return Has(kMissingDictMethods, name);
    case Kind::kBool:
    case Kind::kInt:
    case Kind::kFloat:
      return Has(kMissingNumberMethods, name);
    case Kind::kView:
    case Kind::kRange:
      return Has(kMissingOtherMethods, name);
    default:
      return false;
  }
}

Value NoAttribute(const Value& object, std::string_view name) {
  if (object.is_none()) return Value::Undefined(StrCat("'None' has no attribute '", name, "'"));
  return Value::Undefined(StrCat("'", TypeName(object), " object' has no attribute '", name, "'"));
}

absl::StatusOr<std::optional<Value>> LoopAttribute(Loop& loop, std::string_view name,
                                                   Budget& budget) {
  if (name == "index") return Value::Int(loop.index() + 1);
  if (name == "index0") return Value::Int(loop.index());
  if (name == "first") return Value::Bool(loop.index() == 0);
  if (name == "depth") return Value::Int(1);
  if (name == "depth0") return Value::Int(0);
  if (name == "previtem") return loop.Previous();
  if (name == "nextitem") {
    SHIRA_ASSIGN_OR_RETURN(Value next, loop.Next());
    return next;
  }
  if (name == "last") {
    SHIRA_ASSIGN_OR_RETURN(const bool last, loop.IsLast());
    return Value::Bool(last);
  }
  if (name == "length" || name == "revindex" || name == "revindex0") {
    SHIRA_ASSIGN_OR_RETURN(const int64_t size, loop.Size(budget));
    return Value::Int(name == "length"     ? size
                      : name == "revindex" ? size - loop.index()
                                           : size - loop.index() - 1);
  }
  return std::nullopt;
}

std::optional<Value> MacroAttribute(const MacroDefinition& macro, std::string_view name) {
  if (name == "name") return Value::String(macro.name);
  if (name == "arguments") {
    std::vector<Value> names;
    for (const std::string& parameter : macro.parameters) names.push_back(Value::String(parameter));
    return Value::Tuple(std::move(names));
  }
  if (name == "caller") return Value::Bool(macro.uses_caller);
  if (name == "catch_kwargs") return Value::Bool(macro.uses_kwargs);
  if (name == "catch_varargs") return Value::Bool(macro.uses_varargs);
  if (name == "explicit_caller") return Value::Bool(false);  // the parser refuses those
  return std::nullopt;
}

// What Python's getattr() finds, nullopt where it raises AttributeError.
absl::StatusOr<std::optional<Value>> TypeAttribute(const Value& object, std::string_view name,
                                                   Budget& budget) {
  if (object.is_undefined()) return UndefinedError(object);
  if (const auto ns = object.As<Namespace>()) {
    const Value* found = ns->attributes().Find(name);
    return found == nullptr ? std::nullopt : std::optional<Value>(*found);
  }
  if (const auto loop = object.As<Loop>()) {
    SHIRA_ASSIGN_OR_RETURN(std::optional<Value> found, LoopAttribute(*loop, name, budget));
    if (found) return found;
  }
  if (const auto macro = object.As<Macro>()) {
    if (std::optional<Value> found = MacroAttribute(macro->definition(), name)) return found;
  }
  if (const auto cycler = object.As<Cycler>(); cycler != nullptr && name == "current") {
    return cycler->current();
  }
  if (const BuiltinTable* methods = MethodsOf(object)) {
    if (const BuiltinEntry* method = methods->Find(name)) {
      return Value::FromObject(std::make_shared<Function>(method, object));
    }
  }
  if (IsMutator(object, name)) {
    return Value::Undefined(
        StrCat("access to attribute '", name, "' of '", TypeName(object), "' object is unsafe"));
  }
  if (IsMissingMethod(object, name)) {
    return absl::UnimplementedError(
        StrCat("the method '", name, "' of a '", TypeName(object), "'"));
  }
  return std::nullopt;
}

// What object[index] gives, nullopt where Python raises LookupError or TypeError.
absl::StatusOr<std::optional<Value>> Item(const Value& object, const Value& index, Budget& budget) {
  if (object.is_undefined()) return UndefinedError(object);
  if (object.kind() == Kind::kDict) {
    const absl::StatusOr<const Value*> found = object.dict().Find(index);
    if (absl::IsUnimplemented(found.status())) return found.status();
    if (!found.ok() || *found == nullptr) return std::nullopt;
    return **found;
  }
  const std::optional<int64_t> size = SizeOf(object);
  if (!size || object.kind() == Kind::kView || !index.is_integral()) return std::nullopt;
  int64_t position = index.integer();
  if (position < 0) position += *size;
  if (position < 0 || position >= *size) return std::nullopt;
  if (object.is_sequence()) return object.items()[static_cast<size_t>(position)];
  if (object.kind() == Kind::kRange) return Value::Int(object.range().at(position));
  SHIRA_RETURN_IF_ERROR(budget.SpendBytes(object.text().size()));
  const std::string& text = object.text();
  size_t offset = 0;
  for (int64_t i = 0; i < position; ++i) NextCharacter(text, &offset);
  const size_t start = offset;
  NextCharacter(text, &offset);
  std::string character = text.substr(start, offset - start);
  return object.is_markup() ? Value::Markup(std::move(character))
                            : Value::String(std::move(character));
}

struct SliceBounds {
  int64_t start;
  int64_t stop;
  int64_t step;
  int64_t count;
};

absl::StatusOr<std::optional<int64_t>> SliceIndex(const Value& value) {
  if (value.is_none()) return std::nullopt;
  if (value.is_undefined()) return UndefinedError(value);
  if (!value.is_integral()) {
    return absl::InvalidArgumentError(
        StrCat("a slice takes integers, found '", TypeName(value), "'"));
  }
  return value.integer();
}

// slice.indices() of Python.
absl::StatusOr<SliceBounds> Resolve(const Value& start, const Value& stop, const Value& step,
                                    int64_t size) {
  SHIRA_ASSIGN_OR_RETURN(const std::optional<int64_t> first, SliceIndex(start));
  SHIRA_ASSIGN_OR_RETURN(const std::optional<int64_t> last, SliceIndex(stop));
  SHIRA_ASSIGN_OR_RETURN(const std::optional<int64_t> stride, SliceIndex(step));
  const int64_t by = stride.value_or(1);
  if (by == 0) return absl::InvalidArgumentError("a slice step of zero");
  const int64_t lower = by < 0 ? -1 : 0;
  const int64_t upper = by < 0 ? size - 1 : size;
  const auto clamp = [&](int64_t index) {
    if (index < 0) index = index < -size ? lower : index + size;
    return std::clamp(index, lower, std::max(lower, upper));
  };
  const int64_t from = first ? clamp(*first) : (by < 0 ? upper : lower);
  const int64_t to = last ? clamp(*last) : (by < 0 ? lower : upper);
  // A step beyond the size takes one item; clamping it keeps the arithmetic within 64 bits.
  const int64_t bounded = std::clamp(by, -size - 1, size + 1);
  return SliceBounds{from, to, bounded, Range{from, to, bounded}.size()};
}

}  // namespace

absl::StatusOr<Value> GetAttribute(const Value& object, std::string_view name, Budget& budget) {
  SHIRA_ASSIGN_OR_RETURN(std::optional<Value> found, TypeAttribute(object, name, budget));
  if (!found) {
    SHIRA_ASSIGN_OR_RETURN(found, Item(object, Value::String(std::string(name)), budget));
  }
  return found ? *std::move(found) : NoAttribute(object, name);
}

absl::StatusOr<Value> GetItem(const Value& object, const Value& index, Budget& budget) {
  SHIRA_ASSIGN_OR_RETURN(std::optional<Value> found, Item(object, index, budget));
  if (found) return *std::move(found);
  if (!index.is_string()) {
    return Value::Undefined(StrCat(TypeName(object), " object has no such element"));
  }
  SHIRA_ASSIGN_OR_RETURN(found, TypeAttribute(object, index.text(), budget));
  return found ? *std::move(found) : NoAttribute(object, index.text());
}

absl::StatusOr<Value> GetSlice(const Value& object, const Value& start, const Value& stop,
                               const Value& step, Budget& budget) {
  if (object.is_undefined()) return UndefinedError(object);
  if (!object.is_string() && !object.is_sequence() && object.kind() != Kind::kRange) {
    return absl::InvalidArgumentError(StrCat("'", TypeName(object), "' object cannot be sliced"));
  }
  SHIRA_RETURN_IF_ERROR(budget.SpendBytes(ShallowBytes(object)));
  SHIRA_ASSIGN_OR_RETURN(const SliceBounds bounds, Resolve(start, stop, step, *SizeOf(object)));
  if (object.kind() == Kind::kRange) {
    const Range& range = object.range();
    int64_t step = 0;
    if (__builtin_mul_overflow(range.step, bounds.step, &step)) {
      return absl::InvalidArgumentError("a range step of more than 64 bits");
    }
    return Value::FromRange(Range{range.at(bounds.start), range.at(bounds.stop), step});
  }
  if (object.is_sequence()) {
    std::vector<Value> items;
    items.reserve(static_cast<size_t>(bounds.count));
    for (int64_t i = 0; i < bounds.count; ++i) {
      items.push_back(object.items()[static_cast<size_t>(bounds.start + i * bounds.step)]);
    }
    return object.kind() == Kind::kList ? Value::List(std::move(items))
                                        : Value::Tuple(std::move(items));
  }
  const std::u32string source = ToCodePoints(object.text());
  std::u32string slice;
  for (int64_t i = 0; i < bounds.count; ++i) {
    slice += source[static_cast<size_t>(bounds.start + i * bounds.step)];
  }
  std::string text = FromCodePoints(slice);
  return object.is_markup() ? Value::Markup(std::move(text)) : Value::String(std::move(text));
}

}  // namespace shira::jinja
