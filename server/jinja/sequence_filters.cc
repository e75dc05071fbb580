// The filters on sequences and mappings.

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/status_macros.h"
#include "base/strings.h"
#include "server/jinja/access.h"
#include "server/jinja/attribute_path.h"
#include "server/jinja/builtins.h"
#include "server/jinja/object.h"
#include "server/jinja/operators.h"
#include "server/jinja/sort.h"

namespace shira::jinja {
namespace {

using Result = absl::StatusOr<Value>;
using Next = absl::StatusOr<std::optional<Value>>;

Result Default(Runtime&, const Value& subject, const BoundArguments& arguments) {
  const bool replace = subject.is_undefined() || (arguments.IsTrue(1) && !Truthy(subject));
  return replace ? arguments.Or(0, Value::String("")) : subject;
}

Result LengthFilter(Runtime& runtime, const Value& subject, const BoundArguments&) {
  if (const std::optional<int64_t> size = SizeOf(subject)) return Value::Int(*size);
  if (const auto loop = subject.As<Loop>()) {
    SHIRA_ASSIGN_OR_RETURN(const int64_t size, loop->Size(runtime.budget()));
    return Value::Int(size);
  }
  return absl::InvalidArgumentError(
      StrCat("object of type '", TypeName(subject), "' has no length"));
}

Result ListFilter(Runtime& runtime, const Value& subject, const BoundArguments&) {
  SHIRA_ASSIGN_OR_RETURN(std::vector<Value> items, ToVector(subject, runtime.budget()));
  return Value::List(std::move(items));
}

Result First(Runtime&, const Value& subject, const BoundArguments&) {
  SHIRA_ASSIGN_OR_RETURN(const std::shared_ptr<Iterator> iterator, Iterate(subject));
  SHIRA_ASSIGN_OR_RETURN(const std::optional<Value> item, (*iterator)());
  return item ? *item : Value::Undefined("no first item, the sequence is empty");
}

bool IsReversible(const Value& value) { return SizeOf(value).has_value(); }

Result Last(Runtime& runtime, const Value& subject, const BoundArguments&) {
  if (!IsReversible(subject)) {
    return absl::InvalidArgumentError(StrCat("'", TypeName(subject), "' object is not reversible"));
  }
  SHIRA_ASSIGN_OR_RETURN(const std::vector<Value> items, ToVector(subject, runtime.budget()));
  return items.empty() ? Value::Undefined("no last item, the sequence is empty") : items.back();
}

Result Reverse(Runtime& runtime, const Value& subject, const BoundArguments&) {
  if (subject.is_string()) {
    return GetSlice(subject, Value::None(), Value::None(), Value::Int(-1), runtime.budget());
  }
  SHIRA_ASSIGN_OR_RETURN(std::vector<Value> items, ToVector(subject, runtime.budget()));
  std::reverse(items.begin(), items.end());
  Value reversed = Value::List(std::move(items));
  // reversed() gives an iterator; what has no length is read into a list instead.
  if (!IsReversible(subject)) return reversed;
  SHIRA_ASSIGN_OR_RETURN(std::shared_ptr<Iterator> iterator, Iterate(reversed));
  return Value::FromObject(std::move(iterator));
}

Result Items(Runtime&, const Value& subject, const BoundArguments&) {
  if (!subject.is_undefined() && subject.kind() != Kind::kDict) {
    return absl::InvalidArgumentError(
        StrCat("expected a mapping, found '", TypeName(subject), "'"));
  }
  const Value view = subject.is_undefined()
                         ? Value::List({})
                         : Value::FromView(View{View::Of::kItems, subject.shared_dict()});
  SHIRA_ASSIGN_OR_RETURN(std::shared_ptr<Iterator> iterator, Iterate(view));
  return Value::FromObject(std::move(iterator));
}

Result Join(Runtime& runtime, const Value& subject, const BoundArguments& arguments) {
  SHIRA_ASSIGN_OR_RETURN(const std::string separator, Str(arguments.Or(0, Value::String(""))));
  const AttributePath path = AttributePath::Parse(arguments.Get(1));
  SHIRA_ASSIGN_OR_RETURN(const std::vector<Value> items, ToVector(subject, runtime.budget()));
  std::string joined;
  for (size_t i = 0; i < items.size(); ++i) {
    if (i > 0) joined += separator;
    SHIRA_ASSIGN_OR_RETURN(const Value item, path.Get(items[i], runtime.budget()));
    SHIRA_ASSIGN_OR_RETURN(const std::string text, Str(item));
    joined += text;
    SHIRA_RETURN_IF_ERROR(CheckStringBytes(joined.size()));
  }
  return Value::String(std::move(joined));
}

Result DictSort(Runtime& runtime, const Value& subject, const BoundArguments& arguments) {
  if (subject.is_undefined()) return UndefinedError(subject);
  if (subject.kind() != Kind::kDict) {
    return absl::InvalidArgumentError(
        StrCat("expected a mapping, found '", TypeName(subject), "'"));
  }
  const bool case_sensitive = arguments.IsTrue(0);
  const Value by = arguments.Or(1, Value::String("key"));
  const bool by_key = by.is_string() && by.text() == "key";
  if (!by_key && !(by.is_string() && by.text() == "value")) {
    return absl::InvalidArgumentError("sorts by 'key' or by 'value'");
  }
  const std::vector<Dict::Entry>& entries = subject.dict().entries();
  std::vector<Value> keys;
  for (const auto& [key, value] : entries) {
    const Value& sorted_by = by_key ? key : value;
    keys.push_back(case_sensitive ? sorted_by : IgnoreCase(sorted_by));
  }
  SHIRA_ASSIGN_OR_RETURN(const std::vector<size_t> order,
                         SortedOrder(keys, arguments.IsTrue(2), runtime.budget()));
  std::vector<Value> sorted;
  for (const size_t i : order) {
    sorted.push_back(Value::Tuple({entries[i].first, entries[i].second}));
  }
  return Value::List(std::move(sorted));
}

Result Sort(Runtime& runtime, const Value& subject, const BoundArguments& arguments) {
  const bool case_sensitive = arguments.IsTrue(1);
  const std::vector<AttributePath> paths = AttributePath::ParseList(arguments.Get(2));
  SHIRA_ASSIGN_OR_RETURN(const std::vector<Value> items, ToVector(subject, runtime.budget()));
  std::vector<Value> keys;
  for (const Value& item : items) {
    std::vector<Value> key;
    for (const AttributePath& path : paths) {
      SHIRA_ASSIGN_OR_RETURN(const Value part, path.Get(item, runtime.budget()));
      key.push_back(case_sensitive ? part : IgnoreCase(part));
    }
    keys.push_back(Value::List(std::move(key)));
  }
  SHIRA_ASSIGN_OR_RETURN(const std::vector<size_t> order,
                         SortedOrder(keys, arguments.IsTrue(0), runtime.budget()));
  std::vector<Value> sorted;
  for (const size_t i : order) sorted.push_back(items[i]);
  return Value::List(std::move(sorted));
}

Result Unique(Runtime& runtime, const Value& subject, const BoundArguments& arguments) {
  SHIRA_ASSIGN_OR_RETURN(std::shared_ptr<Iterator> source, Iterate(subject));
  const int depth = source->depth();
  return Generator(
      depth,
      [&runtime, source = std::move(source), case_sensitive = arguments.IsTrue(0),
       path = AttributePath::Parse(arguments.Get(1)), seen = Dict()]() mutable -> Next {
        while (true) {
          SHIRA_ASSIGN_OR_RETURN(std::optional<Value> item, (*source)());
          if (!item) return item;
          SHIRA_ASSIGN_OR_RETURN(Value key, path.Get(*item, runtime.budget()));
          if (!case_sensitive) key = IgnoreCase(key);
          SHIRA_ASSIGN_OR_RETURN(const Value* found, seen.Find(key));
          if (found != nullptr) continue;
          SHIRA_RETURN_IF_ERROR(seen.Set(std::move(key), Value::None()));
          return item;
        }
      });
}

Result Extreme(Runtime& runtime, const Value& subject, const BoundArguments& arguments,
               bool largest) {
  const bool case_sensitive = arguments.IsTrue(0);
  const AttributePath path = AttributePath::Parse(arguments.Get(1));
  SHIRA_ASSIGN_OR_RETURN(const std::vector<Value> items, ToVector(subject, runtime.budget()));
  if (items.empty()) return Value::Undefined("no aggregated item, the sequence is empty");
  Value best;
  Value best_key;
  for (size_t i = 0; i < items.size(); ++i) {
    SHIRA_ASSIGN_OR_RETURN(Value key, path.Get(items[i], runtime.budget()));
    if (!case_sensitive) key = IgnoreCase(key);
    bool better = i == 0;
    if (i > 0) {
      SHIRA_ASSIGN_OR_RETURN(better, largest ? Less(best_key, key, runtime.budget())
                                             : Less(key, best_key, runtime.budget()));
    }
    if (better) {
      best = items[i];
      best_key = std::move(key);
    }
  }
  return best;
}

Result Min(Runtime& runtime, const Value& subject, const BoundArguments& arguments) {
  return Extreme(runtime, subject, arguments, false);
}

Result Max(Runtime& runtime, const Value& subject, const BoundArguments& arguments) {
  return Extreme(runtime, subject, arguments, true);
}

Result Sum(Runtime& runtime, const Value& subject, const BoundArguments& arguments) {
  const AttributePath path = AttributePath::Parse(arguments.Get(0));
  Value sum = arguments.Or(1, Value::Int(0));
  if (sum.is_string()) return absl::InvalidArgumentError("cannot sum strings, use join");
  SHIRA_ASSIGN_OR_RETURN(const std::vector<Value> items, ToVector(subject, runtime.budget()));
  for (const Value& item : items) {
    SHIRA_ASSIGN_OR_RETURN(const Value term, path.Get(item, runtime.budget()));
    SHIRA_ASSIGN_OR_RETURN(sum, Apply(BinaryOperator::kAdd, sum, term, runtime.budget()));
  }
  return sum;
}

Result Batch(Runtime&, const Value& subject, const BoundArguments& arguments) {
  SHIRA_ASSIGN_OR_RETURN(const int64_t size, arguments.Integer(0, 0));
  SHIRA_RETURN_IF_ERROR(CheckListItems(static_cast<size_t>(std::max<int64_t>(size, 0))));
  SHIRA_ASSIGN_OR_RETURN(std::shared_ptr<Iterator> source, Iterate(subject));
  const int depth = source->depth();
  return Generator(depth,
                   [source = std::move(source), size, fill = arguments.Or(1, Value::None()),
                    batch = std::vector<Value>(), done = false]() mutable -> Next {
                     while (!done) {
                       SHIRA_ASSIGN_OR_RETURN(std::optional<Value> item, (*source)());
                       if (!item) {
                         done = true;
                         break;
                       }
                       const bool full = static_cast<int64_t>(batch.size()) == size;
                       std::vector<Value> complete;
                       if (full) complete.swap(batch);
                       batch.push_back(*std::move(item));
                       if (full) return std::optional<Value>(Value::List(std::move(complete)));
                     }
                     if (batch.empty()) return std::nullopt;
                     while (!fill.is_none() && static_cast<int64_t>(batch.size()) < size)
                       batch.push_back(fill);
                     return std::optional<Value>(Value::List(std::exchange(batch, {})));
                   });
}

Result SliceFilter(Runtime& runtime, const Value& subject, const BoundArguments& arguments) {
  SHIRA_ASSIGN_OR_RETURN(const int64_t slices, arguments.Integer(0, 0));
  if (slices == 0) return absl::InvalidArgumentError("division by zero");
  SHIRA_ASSIGN_OR_RETURN(std::vector<Value> items, ToVector(subject, runtime.budget()));
  Value source = Value::List(std::move(items));
  const int depth = source.depth() + 1;
  return Generator(depth,
                   [source = std::move(source), slices, slice = int64_t{0},
                    fill = arguments.Or(1, Value::None())]() mutable -> Next {
                     if (slice >= slices) return std::nullopt;
                     const std::vector<Value>& items = source.items();
                     const int64_t each = static_cast<int64_t>(items.size()) / slices;
                     const int64_t larger =
                         static_cast<int64_t>(items.size()) % slices;  // slices with one more
                     const int64_t begin = slice * each + std::min(slice, larger);
                     const int64_t end = begin + each + (slice < larger ? 1 : 0);
                     std::vector<Value> part(items.begin() + begin, items.begin() + end);
                     if (!fill.is_none() && slice >= larger) part.push_back(fill);
                     ++slice;
                     return std::optional<Value>(Value::List(std::move(part)));
                   });
}

}  // namespace

const BuiltinTable& SequenceFilters() {
  static const BuiltinTable& table = *new BuiltinTable({
      {"batch", "linecount! fill_with", Batch},
      {"default d", "default_value boolean", Default},
      {"dictsort", "case_sensitive by reverse", DictSort},
      {"first", "", First},
      {"items", "", Items},
      {"join", "d attribute", Join},
      {"last", "", Last},
      {"length count", "", LengthFilter},
      {"list", "", ListFilter},
      {"max", "case_sensitive attribute", Max},
      {"min", "case_sensitive attribute", Min},
      {"reverse", "", Reverse},
      {"slice", "slices! fill_with", SliceFilter},
      {"sort", "reverse case_sensitive attribute", Sort},
      {"sum", "attribute start", Sum},
      {"unique", "case_sensitive attribute", Unique},
  });
  return table;
}

}  // namespace shira::jinja
