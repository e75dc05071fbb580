#include "server/jinja/attribute_path.h"

#include <string>
#include <string_view>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "base/status_macros.h"
#include "base/strings.h"
#include "server/jinja/access.h"
#include "server/jinja/text.h"

namespace shira::jinja {

AttributePath AttributePath::Parse(const Value* attribute) {
  AttributePath path;
  if (attribute == nullptr || attribute->is_none()) return path;
  if (!attribute->is_string()) {
    path.parts_.push_back(*attribute);
    return path;
  }
  for (const absl::string_view part : absl::StrSplit(attribute->text(), '.')) {
    int64_t index = 0;
    if (IsDigit(ToStd(part)) && absl::SimpleAtoi(part, &index)) {
      path.parts_.push_back(Value::Int(index));
    } else {
      path.parts_.push_back(Value::String(std::string(part)));
    }
  }
  return path;
}

std::vector<AttributePath> AttributePath::ParseList(const Value* attribute) {
  if (attribute == nullptr || !attribute->is_string()) return {Parse(attribute)};
  std::vector<AttributePath> paths;
  for (const absl::string_view part : absl::StrSplit(attribute->text(), ',')) {
    const Value name = Value::String(std::string(part));
    paths.push_back(Parse(&name));
  }
  return paths;
}

absl::StatusOr<Value> AttributePath::Get(Value value, Budget& budget,
                                         const Value* otherwise) const {
  SHIRA_RETURN_IF_ERROR(budget.Spend(1));
  for (const Value& part : parts_) {
    SHIRA_ASSIGN_OR_RETURN(value, GetItem(value, part, budget));
    if (value.is_undefined() && otherwise != nullptr && !otherwise->is_none()) value = *otherwise;
  }
  return value;
}

Value IgnoreCase(const Value& value) {
  if (!value.is_string()) return value;
  return Value::String(Lower(value.text()));
}

}  // namespace shira::jinja
