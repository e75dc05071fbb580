#include "server/model/config_fields.h"

#include <limits>

namespace shira {
namespace {

// nullopt unless the value is an integer that fits.
template <typename T>
std::optional<T> IntegerOf(const nlohmann::json& value) {
  if (value.is_number_unsigned()) {
    const uint64_t number = value.get<uint64_t>();
    if (number > static_cast<uint64_t>(std::numeric_limits<T>::max())) return std::nullopt;
    return static_cast<T>(number);
  }
  if (!value.is_number_integer()) return std::nullopt;
  const int64_t number = value.get<int64_t>();
  if (number < std::numeric_limits<T>::min() || number > std::numeric_limits<T>::max()) {
    return std::nullopt;
  }
  return static_cast<T>(number);
}

}  // namespace

absl::Status ConfigProblems::ToStatus(std::string_view source) const {
  if (!malformed.empty()) return malformed.ToStatus(absl::StatusCode::kInvalidArgument, source);
  return unsupported.ToStatus(absl::StatusCode::kUnimplemented, source);
}

const nlohmann::json* ConfigFields::Find(const char* key) const {
  const auto found = object_.find(key);
  return found == object_.end() || found->is_null() ? nullptr : &*found;
}

bool ConfigFields::IsNull(const char* key) const {
  const auto found = object_.find(key);
  return found != object_.end() && found->is_null();
}

void ConfigFields::Malformed(const char* key, std::string_view expected) const {
  const nlohmann::json* value = Find(key);
  problems_->malformed.Add(prefix_, key, ": expected ", expected, ", found ",
                           value == nullptr ? "nothing" : value->type_name());
}

int64_t ConfigFields::Int(const char* key) const {
  const nlohmann::json* value = Find(key);
  const std::optional<int64_t> number =
      value == nullptr ? std::nullopt : IntegerOf<int64_t>(*value);
  if (!number) Malformed(key, "an integer");
  return number.value_or(0);
}

double ConfigFields::Float(const char* key) const {
  const nlohmann::json* value = Find(key);
  if (value != nullptr && value->is_number()) return value->get<double>();
  Malformed(key, "a number");
  return 0.0;
}

bool ConfigFields::Bool(const char* key, bool absent) const {
  const nlohmann::json* value = Find(key);
  if (value == nullptr) return absent;
  if (value->is_boolean()) return value->get<bool>();
  Malformed(key, "true or false");
  return absent;
}

std::string ConfigFields::String(const char* key, std::string_view absent) const {
  const nlohmann::json* value = Find(key);
  if (value == nullptr) return std::string(absent);
  if (value->is_string()) return value->get<std::string>();
  Malformed(key, "a string");
  return std::string(absent);
}

std::vector<int32_t> ConfigFields::TokenIds(const char* key) const {
  const nlohmann::json* value = Find(key);
  if (value == nullptr) return {};
  std::vector<int32_t> ids;
  const auto add = [&](const nlohmann::json& item) {
    const std::optional<int32_t> id = IntegerOf<int32_t>(item);
    if (id) ids.push_back(*id);
    return id.has_value();
  };
  bool valid = true;
  if (value->is_array()) {
    for (const nlohmann::json& item : *value) valid = valid && add(item);
  } else {
    valid = add(*value);
  }
  if (!valid) Malformed(key, "a token id or a list of token ids");
  return ids;
}

std::vector<std::string> ConfigFields::Strings(const char* key) const {
  const nlohmann::json* value = Find(key);
  if (value == nullptr) return {};
  std::vector<std::string> strings;
  bool valid = value->is_array();
  for (const nlohmann::json& item : *value) {
    valid = valid && item.is_string();
    if (valid) strings.push_back(item.get<std::string>());
  }
  if (!valid) Malformed(key, "a list of strings");
  return strings;
}

std::vector<int64_t> ConfigFields::Ints(const char* key) const {
  const nlohmann::json* value = Find(key);
  if (value == nullptr) return {};
  std::vector<int64_t> numbers;
  bool valid = value->is_array();
  for (const nlohmann::json& item : *value) {
    const std::optional<int64_t> number = valid ? IntegerOf<int64_t>(item) : std::nullopt;
    valid = valid && number.has_value();
    if (valid) numbers.push_back(*number);
  }
  if (!valid) Malformed(key, "a list of integers");
  return numbers;
}

std::vector<double> ConfigFields::Floats(const char* key) const {
  const nlohmann::json* value = Find(key);
  if (value == nullptr) return {};
  std::vector<double> numbers;
  bool valid = value->is_array();
  for (const nlohmann::json& item : *value) {
    valid = valid && item.is_number();
    if (valid) numbers.push_back(item.get<double>());
  }
  if (!valid) Malformed(key, "a list of numbers");
  return numbers;
}

std::optional<ConfigFields> ConfigFields::Object(const char* key) const {
  const nlohmann::json* value = Find(key);
  if (value == nullptr) return std::nullopt;
  if (value->is_object()) return ConfigFields(*value, prefix_ + key + ".", problems_);
  Malformed(key, "an object");
  return std::nullopt;
}

}  // namespace shira
