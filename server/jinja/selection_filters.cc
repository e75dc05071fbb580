// The filters that apply another filter or a test to each item: map, select, reject and their
// attribute forms. All are lazy.

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "base/status_macros.h"
#include "base/strings.h"
#include "server/jinja/attribute_path.h"
#include "server/jinja/builtins.h"
#include "server/jinja/object.h"

namespace shira::jinja {
namespace {

using Result = absl::StatusOr<Value>;
using Next = absl::StatusOr<std::optional<Value>>;
using Transform = std::function<Result(const Value&)>;

Value EmptyGenerator() {
  return Generator(0, []() -> Next { return std::nullopt; });
}

int DepthOf(const Arguments& arguments) {
  int depth = 0;
  for (const Value& value : arguments.positional) depth = std::max(depth, value.depth());
  for (const auto& [name, value] : arguments.named) depth = std::max(depth, value.depth());
  return depth;
}

// The entry that the first argument names; the argument is taken away.
absl::StatusOr<const BuiltinEntry*> TakeEntry(const BuiltinTable& table, std::string_view what,
                                              Arguments& arguments) {
  const Value name = arguments.positional.front();
  arguments.positional.erase(arguments.positional.begin());
  const BuiltinEntry* entry = name.is_string() ? table.Find(name.text()) : nullptr;
  if (entry != nullptr) return entry;
  SHIRA_ASSIGN_OR_RETURN(const std::string text, Repr(name));
  return absl::InvalidArgumentError(StrCat("no ", what, " named ", text));
}

Transform Calls(Runtime& runtime, const BuiltinEntry* entry, Arguments arguments) {
  return [&runtime, entry, arguments = std::move(arguments)](const Value& item) {
    return runtime.CallBuiltin(*entry, item, arguments);
  };
}

absl::StatusOr<Transform> MapTransform(Runtime& runtime, Arguments arguments) {
  if (!arguments.positional.empty()) {
    SHIRA_ASSIGN_OR_RETURN(const BuiltinEntry* entry, TakeEntry(Filters(), "filter", arguments));
    return Calls(runtime, entry, std::move(arguments));
  }
  std::optional<Value> attribute;
  Value otherwise = Value::None();
  std::string unknown;
  for (auto& [name, value] : arguments.named) {
    if (name == "attribute") {
      attribute = std::move(value);
    } else if (name == "default") {
      otherwise = std::move(value);
    } else {
      unknown = name;
    }
  }
  if (!attribute) return absl::InvalidArgumentError("needs a filter or an attribute");
  if (!unknown.empty()) {
    return absl::InvalidArgumentError(StrCat("takes no argument '", unknown, "'"));
  }
  return Transform([&runtime, path = AttributePath::Parse(&*attribute),
                    otherwise = std::move(otherwise)](const Value& item) {
    return path.Get(item, runtime.budget(), &otherwise);
  });
}

Result Map(Runtime& runtime, const Value& subject, const BoundArguments& arguments) {
  if (!Truthy(subject)) return EmptyGenerator();
  SHIRA_ASSIGN_OR_RETURN(std::shared_ptr<Iterator> source, Iterate(subject));
  const int depth = std::max(source->depth(), DepthOf(arguments.rest()));
  SHIRA_ASSIGN_OR_RETURN(Transform transform, MapTransform(runtime, arguments.rest()));
  return Generator(depth, [source = std::move(source), transform = std::move(transform)]() -> Next {
    SHIRA_ASSIGN_OR_RETURN(const std::optional<Value> item, (*source)());
    if (!item) return std::nullopt;
    SHIRA_ASSIGN_OR_RETURN(Value mapped, transform(*item));
    return std::optional<Value>(std::move(mapped));
  });
}

Result Choose(Runtime& runtime, const Value& subject, Arguments arguments, bool by_attribute,
              bool keep) {
  if (!Truthy(subject)) return EmptyGenerator();
  SHIRA_ASSIGN_OR_RETURN(std::shared_ptr<Iterator> source, Iterate(subject));
  const int depth = std::max(source->depth(), DepthOf(arguments));
  AttributePath path;
  if (by_attribute) {
    if (arguments.positional.empty()) {
      return absl::InvalidArgumentError("needs the name of an attribute");
    }
    path = AttributePath::Parse(&arguments.positional.front());
    arguments.positional.erase(arguments.positional.begin());
  }
  Transform test = [](const Value& value) -> Result { return Value::Bool(Truthy(value)); };
  if (!arguments.positional.empty()) {
    SHIRA_ASSIGN_OR_RETURN(const BuiltinEntry* entry, TakeEntry(Tests(), "test", arguments));
    test = Calls(runtime, entry, std::move(arguments));
  }
  return Generator(depth,
                   [&runtime, source = std::move(source), path = std::move(path),
                    test = std::move(test), keep]() -> Next {
                     while (true) {
                       SHIRA_ASSIGN_OR_RETURN(std::optional<Value> item, (*source)());
                       if (!item) return item;
                       SHIRA_ASSIGN_OR_RETURN(const Value tested,
                                              path.Get(*item, runtime.budget()));
                       SHIRA_ASSIGN_OR_RETURN(const Value passed, test(tested));
                       if (Truthy(passed) == keep) return item;
                     }
                   });
}

template <bool kByAttribute, bool kKeep>
Result ChooseFilter(Runtime& runtime, const Value& subject, const BoundArguments& arguments) {
  return Choose(runtime, subject, arguments.rest(), kByAttribute, kKeep);
}

}  // namespace

const BuiltinTable& SelectionFilters() {
  static const BuiltinTable& table = *new BuiltinTable({
      {"map", "*", Map},
      {"reject", "*", ChooseFilter<false, false>},
      {"rejectattr", "*", ChooseFilter<true, false>},
      {"select", "*", ChooseFilter<false, true>},
      {"selectattr", "*", ChooseFilter<true, true>},
  });
  return table;
}

}  // namespace shira::jinja
