#include "server/http/json_fields.h"

#include <limits>
#include <utility>
#include <vector>

#include "base/excerpt.h"
#include "base/strings.h"

namespace shira {
namespace {

constexpr size_t kMaxShownBytes = 60;  // of a value or name in a message

template <typename Integer>
bool Fits(const Json& json) {
  if (json.is_number_unsigned()) {
    return json.get<uint64_t>() <= static_cast<uint64_t>(std::numeric_limits<Integer>::max());
  }
  if (!json.is_number_integer()) return false;
  const auto value = json.get<int64_t>();
  return value >= std::numeric_limits<Integer>::min() &&
         value <= std::numeric_limits<Integer>::max();
}

std::string OutOfRange(const Json& json, int bits) {
  return StrCat("is ", JsonText(json), ", which has more than ", bits, " bits");
}

}  // namespace

JsonFields::JsonFields(const Json& object, std::string name, FieldProblems& problems)
    : object_(object), name_(std::move(name)), problems_(problems) {
  if (!object_.is_object()) {
    problems_.Add(name_, StrCat("expected an object, found ", KindOf(object_)));
  }
}

const Json* JsonFields::Find(std::string_view field) {
  known_.emplace(field);
  if (!object_.is_object()) return nullptr;
  const auto found = object_.find(std::string(field));
  return found == object_.end() || found->is_null() ? nullptr : &*found;
}

const Json* JsonFields::Typed(std::string_view field, bool (Json::*is)() const noexcept,
                              std::string_view expected) {
  const Json* value = Find(field);
  if (value == nullptr || (value->*is)()) return value;
  Problem(field, StrCat("expected ", expected, ", found ", KindOf(*value)));
  return nullptr;
}

std::optional<std::string> JsonFields::Text(std::string_view field) {
  const Json* value = Typed(field, &Json::is_string, "a string");
  if (value == nullptr) return std::nullopt;
  return value->get<std::string>();
}

std::optional<bool> JsonFields::Boolean(std::string_view field) {
  const Json* value = Typed(field, &Json::is_boolean, "a boolean");
  if (value == nullptr) return std::nullopt;
  return value->get<bool>();
}

std::optional<double> JsonFields::Number(std::string_view field) {
  const Json* value = Typed(field, &Json::is_number, "a number");
  if (value == nullptr) return std::nullopt;
  return value->get<double>();
}

std::optional<int64_t> JsonFields::Integer(std::string_view field) {
  const Json* value = Typed(field, &Json::is_number_integer, "an integer");
  if (value == nullptr) return std::nullopt;
  if (Fits<int64_t>(*value)) return value->get<int64_t>();
  Problem(field, OutOfRange(*value, 64));
  return std::nullopt;
}

std::optional<int32_t> JsonFields::Int32(std::string_view field) {
  const Json* value = Typed(field, &Json::is_number_integer, "an integer");
  if (value == nullptr) return std::nullopt;
  if (Fits<int32_t>(*value)) return value->get<int32_t>();
  Problem(field, OutOfRange(*value, 32));
  return std::nullopt;
}

const Json* JsonFields::List(std::string_view field) {
  return Typed(field, &Json::is_array, "a list");
}

void JsonFields::Ignore(absl::Span<const std::string_view> fields) {
  for (const std::string_view field : fields) known_.emplace(field);
}

void JsonFields::Only(std::string_view field, const Json& value, std::string_view why) {
  const Json* found = Find(field);
  if (found == nullptr || *found == value) return;
  Problem(field, StrCat("is not supported but for ", JsonText(value), ": ", why));
}

void JsonFields::RefuseOthers() {
  if (!object_.is_object()) return;
  for (const auto& [field, value] : object_.items()) {
    if (known_.contains(field) || value.is_null()) continue;
    Problem(Excerpt(field, kMaxShownBytes), "is not supported");
  }
}

void JsonFields::Problem(std::string_view field, std::string_view problem) {
  problems_.Add(NameOf(field), problem);
}

std::string JsonFields::NameOf(std::string_view field) const {
  return name_.empty() ? std::string(field) : StrCat(name_, ".", field);
}

std::optional<std::vector<int32_t>> Int32List(const Json& list, std::string_view name,
                                              FieldProblems& problems) {
  std::vector<int32_t> values;
  values.reserve(list.size());
  for (const Json& value : list) {
    if (!Fits<int32_t>(value)) {
      problems.Add(name, StrCat("expected integers of 32 bits, found ", KindOf(value),
                                " at position ", values.size()));
      return std::nullopt;
    }
    values.push_back(value.get<int32_t>());
  }
  return values;
}

}  // namespace shira
