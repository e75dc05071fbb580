// File: server/jinja/value.h
//
// A value of the template language: what Python would hold while jinja2 renders. Values are
// immutable except for the objects of object.h, and cheap to copy. Integers have 64 bits,
// where Python's are unbounded: an operation that would leave that range fails.

#ifndef SHIRA_SERVER_JINJA_VALUE_H_
#define SHIRA_SERVER_JINJA_VALUE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/jinja/limits.h"

namespace shira::jinja {

class Dict;
class Value;

// A mutable or callable value; object.h has the kinds.
class Object {
 public:
  virtual ~Object() = default;
  // Python's name of the type, for messages and repr.
  virtual std::string_view type_name() const = 0;
  // Nesting of the values that this object owns; see kMaxValueDepth.
  virtual int depth() const { return 1; }
};

enum class Kind {
  kUndefined,
  kNone,
  kBool,
  kInt,
  kFloat,
  kString,
  kList,
  kTuple,
  kDict,
  kRange,
  kView,
  kObject
};

struct Range {
  int64_t start = 0;
  int64_t stop = 0;
  int64_t step = 1;  // not 0

  int64_t size() const;
  // REQUIRES: 0 <= index <= size(); the value one past the end may wrap around.
  int64_t at(int64_t index) const;
};

// What d.keys(), d.values() and d.items() give.
struct View {
  enum class Of { kKeys, kValues, kItems };
  Of of = Of::kKeys;
  std::shared_ptr<const Dict> dict;
};

class Value {
 public:
  // Undefined without a name.
  Value() = default;

  // `hint` is the message of the error that any use other than printing, testing and iterating
  // raises.
  static Value Undefined(std::string hint);
  static Value None();
  static Value Bool(bool value);
  static Value Int(int64_t value);
  static Value Float(double value);
  static Value String(std::string text);
  // Text that is safe in HTML: joining plain text to it escapes the plain text.
  static Value Markup(std::string text);
  static Value List(std::vector<Value> items);
  static Value Tuple(std::vector<Value> items);
  static Value FromDict(Dict dict);
  static Value FromRange(Range range);
  static Value FromView(View view);
  static Value FromObject(std::shared_ptr<Object> object);

  Kind kind() const { return static_cast<Kind>(data_.index()); }
  bool is_undefined() const { return kind() == Kind::kUndefined; }
  bool is_none() const { return kind() == Kind::kNone; }
  bool is_string() const { return kind() == Kind::kString; }
  bool is_sequence() const { return kind() == Kind::kList || kind() == Kind::kTuple; }
  // An int or a bool: Python's bool is an int.
  bool is_integral() const { return kind() == Kind::kInt || kind() == Kind::kBool; }
  bool is_number() const { return is_integral() || kind() == Kind::kFloat; }
  bool is_markup() const;

  // REQUIRES of each: the kind that it names (integer(): integral; number(): any number).
  const std::string& undefined_hint() const;
  bool boolean() const { return std::get<bool>(data_); }
  int64_t integer() const;
  double number() const;
  const std::string& text() const;
  const std::vector<Value>& items() const;  // of a list or tuple
  const Dict& dict() const;
  std::shared_ptr<const Dict> shared_dict() const;
  const Range& range() const { return std::get<Range>(data_); }
  const View& view() const { return *std::get<std::shared_ptr<const View>>(data_); }
  const std::shared_ptr<Object>& object() const { return std::get<std::shared_ptr<Object>>(data_); }
  // nullptr unless this is an object of that class.
  template <typename T>
  std::shared_ptr<T> As() const {
    return kind() == Kind::kObject ? std::dynamic_pointer_cast<T>(object()) : nullptr;
  }

  // 0 for a scalar, one more than the deepest item for a container.
  int depth() const;
  // Identity as Python's `is` has it for None, booleans and containers; equal scalars of one type
  // are identical.
  bool IsSame(const Value& other) const;

 private:
  struct Hint {
    std::shared_ptr<const std::string> text;
  };
  struct NoneType {};
  struct Text {
    std::string text;
    bool markup = false;
  };
  struct Sequence {
    std::vector<Value> items;
    int depth = 1;
  };
  struct ListData {
    std::shared_ptr<const Sequence> sequence;
  };
  struct TupleData {
    std::shared_ptr<const Sequence> sequence;
  };
  // In the order of Kind.
  using Data = std::variant<Hint, NoneType, bool, int64_t, double, std::shared_ptr<const Text>,
                            ListData, TupleData, std::shared_ptr<const Dict>, Range,
                            std::shared_ptr<const View>, std::shared_ptr<Object>>;

  explicit Value(Data data) : data_(std::move(data)) {}
  static std::shared_ptr<const Sequence> MakeSequence(std::vector<Value> items);

  Data data_;
};

// A mapping that keeps the order of insertion. Keys compare as Python's do: 1, 1.0 and True are one
// key.
class Dict {
 public:
  using Entry = std::pair<Value, Value>;

  // INVALID_ARGUMENT for a key that Python cannot hash (list, dict), UNIMPLEMENTED for a tuple that
  // holds containers.
  absl::Status Set(Value key, Value value);
  void Set(std::string key, Value value);
  // nullptr when absent.
  absl::StatusOr<const Value*> Find(const Value& key) const;
  const Value* Find(std::string_view key) const;

  const std::vector<Entry>& entries() const { return entries_; }
  size_t size() const { return entries_.size(); }
  int depth() const { return depth_; }

 private:
  std::optional<size_t> Position(const Value& key) const;
  void Append(Value key, Value value);
  void NoteDepth(const Value& value);

  std::vector<Entry> entries_;
  absl::flat_hash_map<std::string, size_t> position_of_text_;
  std::vector<size_t> other_keys_;  // positions of the keys that are no strings
  int depth_ = 1;
};

// "int", "str", "NoneType" and so on, as Python's messages name types.
std::string_view TypeName(const Value& value);

bool Truthy(const Value& value);

// len(value); nullopt where Python raises TypeError.
std::optional<int64_t> SizeOf(const Value& value);

// str(value) and repr(value). RESOURCE_EXHAUSTED past the bound on strings.
absl::StatusOr<std::string> Str(const Value& value);
absl::StatusOr<std::string> Repr(const Value& value);

// value == other. Never an error of types; RESOURCE_EXHAUSTED when the budget ends.
absl::StatusOr<bool> Equals(const Value& left, const Value& right, Budget& budget);
// left < right. INVALID_ARGUMENT for types that Python does not order.
absl::StatusOr<bool> Less(const Value& left, const Value& right, Budget& budget);

// The number of bytes or items that an operation on `value` walks over, for the budget. Not
// recursive.
size_t ShallowBytes(const Value& value);

// INVALID_ARGUMENT with the message of the undefined value.
absl::Status UndefinedError(const Value& undefined);

}  // namespace shira::jinja

#endif  // SHIRA_SERVER_JINJA_VALUE_H_
