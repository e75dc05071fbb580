// File: server/jinja/builtins.h
//
// The filters, tests, methods and global functions of the template language, in explicit tables. A
// new one is a function and one line in a table. What jinja2 has and these tables lack is refused
// when the template is parsed (filters, tests, functions) or used (methods).

#ifndef SHIRA_SERVER_JINJA_BUILTINS_H_
#define SHIRA_SERVER_JINJA_BUILTINS_H_

#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/jinja/value.h"

namespace shira::jinja {

// The evaluated arguments of a call, as written.
struct Arguments {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> named;
};

// The arguments of a call, in the order of the callee's parameters.
class BoundArguments {
 public:
  BoundArguments(std::vector<std::optional<Value>> values, Arguments rest)
      : values_(std::move(values)), rest_(std::move(rest)) {}

  // nullptr when not given.
  const Value* Get(size_t parameter) const {
    return values_[parameter] ? &*values_[parameter] : nullptr;
  }
  const Value& Required(size_t parameter) const { return *values_[parameter]; }
  Value Or(size_t parameter, Value otherwise) const {
    if (values_[parameter]) return *values_[parameter];
    return otherwise;
  }
  bool IsTrue(size_t parameter) const { return values_[parameter] && Truthy(*values_[parameter]); }
  // INVALID_ARGUMENT unless it is an integer; `otherwise` when not given or none.
  absl::StatusOr<int64_t> Integer(size_t parameter, int64_t otherwise) const;
  // nullopt when not given or none; INVALID_ARGUMENT for another type than a string.
  absl::StatusOr<std::optional<std::string>> Text(size_t parameter) const;
  // What a function with "*" takes beyond its named parameters.
  const Arguments& rest() const { return rest_; }

 private:
  std::vector<std::optional<Value>> values_;
  Arguments rest_;
};

struct BuiltinEntry;

// The parts of the rendering that functions use.
class Runtime {
 public:
  virtual ~Runtime() = default;

  virtual Budget& budget() = 0;
  virtual absl::Time now() const = 0;
  // Calls the entry of that table; its errors name it.
  virtual absl::StatusOr<Value> CallBuiltin(const BuiltinEntry& entry, const Value& subject,
                                            Arguments arguments) = 0;
  virtual Value NewNamespace(Dict attributes) = 0;
};

// `subject`: what a filter or test is applied to, the receiver of a method, undefined for a global
// function.
using BuiltinFunction = absl::StatusOr<Value> (*)(Runtime& runtime, const Value& subject,
                                                  const BoundArguments& arguments);

struct BuiltinEntry {
  std::string name;
  BuiltinFunction function;
  std::vector<std::string> parameters;
  size_t required = 0;      // the first ones
  bool takes_rest = false;  // any further arguments, positional and named
};

class BuiltinTable {
 public:
  struct Row {
    std::string_view names;  // separated by spaces: one entry with several names
    // "old! new! count": with "!" required; "/old" cannot be given by name; a last "*" takes the
    // rest.
    std::string_view signature;
    BuiltinFunction function;
  };

  BuiltinTable(std::initializer_list<Row> rows);
  // nullptr when absent.
  const BuiltinEntry* Find(std::string_view name) const;
  // Adds the rows of another table.
  BuiltinTable& Include(const BuiltinTable& other);

 private:
  absl::flat_hash_map<std::string, BuiltinEntry> entries_;
};

const BuiltinTable& Filters();
const BuiltinTable& Tests();
const BuiltinTable& GlobalFunctions();

// The parts of Filters(), one file each.
const BuiltinTable& TextFilters();
const BuiltinTable& NumberFilters();
const BuiltinTable& SequenceFilters();
const BuiltinTable& SelectionFilters();

// The methods of values; nullptr for a type without any.
const BuiltinTable* MethodsOf(const Value& value);
const BuiltinTable& StringMethods();

// The result of a str method on a receiver that is marked as safe: marked as safe too.
Value MarkAs(const Value& receiver, Value result);

// `value` as a string, with its mark as safe kept; str(value) for other types.
absl::StatusOr<Value> SoftString(const Value& value);

// INVALID_ARGUMENT for missing, unknown and repeated arguments.
absl::StatusOr<BoundArguments> Bind(const BuiltinEntry& entry, Arguments arguments);

}  // namespace shira::jinja

#endif  // SHIRA_SERVER_JINJA_BUILTINS_H_
