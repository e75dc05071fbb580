// File: server/jinja/object.h
//
// The values that have state or can be called: iterators, namespaces, macros, bound methods, the
// loop variable, cycler and joiner. They belong to one rendering and are used by one thread.

#ifndef SHIRA_SERVER_JINJA_OBJECT_H_
#define SHIRA_SERVER_JINJA_OBJECT_H_

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "server/jinja/value.h"

namespace shira::jinja {

struct BuiltinEntry;
struct MacroDefinition;
class Scope;

// A Python iterator: gives each item once, on demand, so that an error in an item that is
// never requested does not occur.
class Iterator : public Object {
 public:
  // The next item, nullopt at the end.
  using Next = std::function<absl::StatusOr<std::optional<Value>>()>;

  // `depth`: of the values that `next` owns.
  Iterator(std::string type_name, int depth, Next next)
      : type_name_(std::move(type_name)), depth_(depth + 1), next_(std::move(next)) {}

  absl::StatusOr<std::optional<Value>> operator()() { return next_(); }
  std::string_view type_name() const override { return type_name_; }
  int depth() const override { return depth_; }

 private:
  std::string type_name_;
  int depth_;
  Next next_;
};

// A lazy sequence, as Python's generators. `depth`: of the values that `next` owns.
Value Generator(int depth, Iterator::Next next);
// iter(value). INVALID_ARGUMENT for what Python cannot iterate. An iterator gives itself.
absl::StatusOr<std::shared_ptr<Iterator>> Iterate(const Value& value);
bool IsIterable(const Value& value);
// list(value), within the budget.
absl::StatusOr<std::vector<Value>> ToVector(const Value& value, Budget& budget);

// namespace(...): the one object whose attributes a template can set. Cycles through it are broken
// by the interpreter, which clears every namespace when the rendering ends, so its contents do not
// count towards depth().
class Namespace : public Object {
 public:
  explicit Namespace(Dict attributes) : attributes_(std::move(attributes)) {}

  std::string_view type_name() const override { return "TemplateNamespace"; }
  const Dict& attributes() const { return attributes_; }
  // INVALID_ARGUMENT for a name that starts with an underscore.
  absl::Status Set(std::string_view name, Value value);
  void Clear() { attributes_ = Dict(); }

 private:
  Dict attributes_;
};

// Something defined by {% macro %} or {% call %}. The interpreter keeps the scope alive.
class Macro : public Object {
 public:
  Macro(const MacroDefinition* definition, Scope* scope) : definition_(definition), scope_(scope) {}

  std::string_view type_name() const override { return "Macro"; }
  const MacroDefinition& definition() const { return *definition_; }
  Scope& scope() const { return *scope_; }

 private:
  const MacroDefinition* definition_;
  Scope* scope_;
};

// A global function, or a method together with its receiver.
class Function : public Object {
 public:
  Function(const BuiltinEntry* entry, Value receiver)
      : entry_(entry), receiver_(std::move(receiver)) {}

  std::string_view type_name() const override { return "builtin_function_or_method"; }
  int depth() const override { return receiver_.depth() + 1; }
  const BuiltinEntry& entry() const { return *entry_; }
  const Value& receiver() const { return receiver_; }

 private:
  const BuiltinEntry* entry_;
  Value receiver_;
};

// The `loop` variable. Looks ahead only for the attributes that need it.
class Loop : public Object {
 public:
  // `size`: of what is iterated, where that has one.
  Loop(std::shared_ptr<Iterator> source, std::optional<int64_t> size)
      : source_(std::move(source)), size_(size) {}

  std::string_view type_name() const override { return "LoopContext"; }
  int depth() const override { return source_->depth() + 1; }

  // Moves to the next item; false at the end.
  absl::StatusOr<bool> Advance();
  const Value& current() const { return current_; }
  // Index from 0.
  int64_t index() const { return index_; }
  absl::StatusOr<int64_t> Size(Budget& budget);
  Value Previous() const;
  // Undefined after the last.
  absl::StatusOr<Value> Next();
  absl::StatusOr<bool> IsLast();
  // True if the arguments differ from those of the last call.
  absl::StatusOr<bool> Changed(const Value& arguments, Budget& budget);
  // Drops every value, as the end of the loop does: any of them can hold this loop.
  void Clear();

 private:
  absl::Status Peek();

  std::shared_ptr<Iterator> source_;
  std::optional<int64_t> size_;
  std::optional<Value> after_;
  Value before_;
  Value current_;
  std::optional<Value> last_changed_;
  int64_t index_ = -1;
};

class Cycler : public Object {
 public:
  // REQUIRES: !items.empty().
  explicit Cycler(Value items) : items_(std::move(items)) {}

  std::string_view type_name() const override { return "Cycler"; }
  int depth() const override { return items_.depth() + 1; }
  const Value& current() const { return items_.items()[position_]; }
  void Advance() { position_ = (position_ + 1) % items_.items().size(); }
  void Reset() { position_ = 0; }

 private:
  Value items_;  // a tuple
  size_t position_ = 0;
};

class Joiner : public Object {
 public:
  explicit Joiner(Value separator) : separator_(std::move(separator)) {}

  std::string_view type_name() const override { return "Joiner"; }
  int depth() const override { return separator_.depth() + 1; }
  // Empty the first time, the separator from then on.
  Value Join();

 private:
  Value separator_;
  bool used_ = false;
};

bool IsCallable(const Value& value);

}  // namespace shira::jinja

#endif  // SHIRA_SERVER_JINJA_OBJECT_H_
