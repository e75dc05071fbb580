// The methods of everything but strings.

#include <memory>
#include <utility>
#include <vector>

#include "base/status_macros.h"
#include "server/jinja/access.h"
#include "server/jinja/builtins.h"
#include "server/jinja/object.h"

namespace shira::jinja {
namespace {

using Result = absl::StatusOr<Value>;

template <View::Of kOf>
Result DictView(Runtime&, const Value& subject, const BoundArguments&) {
  return Value::FromView(View{kOf, subject.shared_dict()});
}

Result DictGet(Runtime&, const Value& subject, const BoundArguments& arguments) {
  SHIRA_ASSIGN_OR_RETURN(const Value* found, subject.dict().Find(arguments.Required(0)));
  return found == nullptr ? arguments.Or(1, Value::None()) : *found;
}

// Values never change, so that a copy is the value itself.
Result Copy(Runtime&, const Value& subject, const BoundArguments&) { return subject; }

Result SequenceCount(Runtime& runtime, const Value& subject, const BoundArguments& arguments) {
  int64_t count = 0;
  for (const Value& item : subject.items()) {
    SHIRA_ASSIGN_OR_RETURN(const bool equal, Equals(item, arguments.Required(0), runtime.budget()));
    count += equal ? 1 : 0;
  }
  return Value::Int(count);
}

Result SequenceIndex(Runtime& runtime, const Value& subject, const BoundArguments& arguments) {
  const auto size = static_cast<int64_t>(subject.items().size());
  SHIRA_ASSIGN_OR_RETURN(int64_t start, arguments.Integer(1, 0));
  SHIRA_ASSIGN_OR_RETURN(int64_t stop, arguments.Integer(2, size));
  if (start < 0) start = std::max<int64_t>(0, start + size);
  if (stop < 0) stop += size;
  for (int64_t i = start; i < std::min(stop, size); ++i) {
    SHIRA_ASSIGN_OR_RETURN(const bool equal, Equals(subject.items()[static_cast<size_t>(i)],
                                                    arguments.Required(0), runtime.budget()));
    if (equal) return Value::Int(i);
  }
  return absl::InvalidArgumentError("the item is not in the list");
}

Result LoopCycle(Runtime&, const Value& subject, const BoundArguments& arguments) {
  const std::vector<Value>& items = arguments.rest().positional;
  if (items.empty() || !arguments.rest().named.empty()) {
    return absl::InvalidArgumentError("takes one or more positional arguments");
  }
  return items[static_cast<size_t>(subject.As<Loop>()->index()) % items.size()];
}

Result LoopChanged(Runtime& runtime, const Value& subject, const BoundArguments& arguments) {
  if (!arguments.rest().named.empty()) {
    return absl::InvalidArgumentError("takes positional arguments only");
  }
  SHIRA_ASSIGN_OR_RETURN(
      const bool changed,
      subject.As<Loop>()->Changed(Value::Tuple(arguments.rest().positional), runtime.budget()));
  return Value::Bool(changed);
}

Result CyclerNext(Runtime&, const Value& subject, const BoundArguments&) {
  const std::shared_ptr<Cycler> cycler = subject.As<Cycler>();
  Value current = cycler->current();
  cycler->Advance();
  return current;
}

Result CyclerReset(Runtime&, const Value& subject, const BoundArguments&) {
  subject.As<Cycler>()->Reset();
  return Value::None();
}

}  // namespace

const BuiltinTable* MethodsOf(const Value& value) {
  static const BuiltinTable& dict = *new BuiltinTable({
      {"copy", "", Copy},
      {"get", "/key! /default", DictGet},
      {"items", "", DictView<View::Of::kItems>},
      {"keys", "", DictView<View::Of::kKeys>},
      {"values", "", DictView<View::Of::kValues>},
  });
  static const BuiltinTable& list = *new BuiltinTable({
      {"copy", "", Copy},
      {"count", "/value!", SequenceCount},
      {"index", "/value! /start /stop", SequenceIndex},
  });
  static const BuiltinTable& tuple = *new BuiltinTable({
      {"count", "/value!", SequenceCount},
      {"index", "/value! /start /stop", SequenceIndex},
  });
  static const BuiltinTable& loop = *new BuiltinTable({
      {"changed", "*", LoopChanged},
      {"cycle", "*", LoopCycle},
  });
  static const BuiltinTable& cycler = *new BuiltinTable({
      {"next", "", CyclerNext},
      {"reset", "", CyclerReset},
  });
  switch (value.kind()) {
    case Kind::kString:
      return &StringMethods();
    case Kind::kDict:
      return &dict;
    case Kind::kList:
      return &list;
    case Kind::kTuple:
      return &tuple;
    case Kind::kObject:
      if (value.As<Loop>() != nullptr) return &loop;
      if (value.As<Cycler>() != nullptr) return &cycler;
      return nullptr;
    default:
      return nullptr;
  }
}

}  // namespace shira::jinja
