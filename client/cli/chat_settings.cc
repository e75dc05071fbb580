#include "client/cli/chat_settings.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>

#include <cmath>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/closest_name.h"
#include "base/terminal/text_table.h"

namespace shira::cli {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

constexpr absl::string_view kDefault = "default";

struct Setting {
  const char* name;
  const char* part;  // of the request; empty: the request itself
  const char* field;
};

constexpr Setting kSettings[] = {
    {"max-tokens", "stop", "max_tokens"},
    {"temperature", "sampling", "temperature"},
    {"seed", "sampling", "seed"},
    {"top-p", "sampling", "top_p"},
    {"top-k", "sampling", "top_k"},
    {"min-p", "sampling", "min_p"},
    {"repetition-penalty", "sampling", "repetition_penalty"},
    {"presence-penalty", "sampling", "presence_penalty"},
    {"frequency-penalty", "sampling", "frequency_penalty"},
    {"stop", "stop", "stop_strings"},
    {"ignore-eos", "stop", "ignore_eos"},
    {"priority", "", "priority"},
    {"speculate", "", "speculate"},
};

const Setting* FindSetting(absl::string_view name) {
  for (const Setting& setting : kSettings) {
    if (name == setting.name) return &setting;
  }
  return nullptr;
}

const Message& PartOf(const Setting& setting, const v1::GenerateRequest& request) {
  if (*setting.part == '\0') return request;
  const FieldDescriptor* part = request.GetDescriptor()->FindFieldByName(setting.part);
  return request.GetReflection()->GetMessage(request, part);
}

Message& MutablePartOf(const Setting& setting, v1::GenerateRequest& request) {
  if (*setting.part == '\0') return request;
  const FieldDescriptor* part = request.GetDescriptor()->FindFieldByName(setting.part);
  return *request.GetReflection()->MutableMessage(&request, part);
}

// False if `text` is no value of the field's type.
bool Store(absl::string_view text, const FieldDescriptor& field, Message& message) {
  const google::protobuf::Reflection& reflection = *message.GetReflection();
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_FLOAT: {
      float number = 0;
      if (!absl::SimpleAtof(text, &number) || !std::isfinite(number)) return false;
      reflection.SetFloat(&message, &field, number);
      return true;
    }
    case FieldDescriptor::CPPTYPE_INT32: {
      int32_t number = 0;
      if (!absl::SimpleAtoi(text, &number)) return false;
      reflection.SetInt32(&message, &field, number);
      return true;
    }
    case FieldDescriptor::CPPTYPE_UINT64: {
      uint64_t number = 0;
      if (!absl::SimpleAtoi(text, &number)) return false;
      reflection.SetUInt64(&message, &field, number);
      return true;
    }
    case FieldDescriptor::CPPTYPE_BOOL: {
      if (text != "on" && text != "off") return false;
      reflection.SetBool(&message, &field, text == "on");
      return true;
    }
    case FieldDescriptor::CPPTYPE_STRING: {  // A list of texts: this one.
      reflection.ClearField(&message, &field);
      reflection.AddString(&message, &field, std::string(text));
      return true;
    }
    default:
      return false;
  }
}

std::string Expected(const FieldDescriptor& field) {
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_FLOAT:
      return "a number";
    case FieldDescriptor::CPPTYPE_BOOL:
      return "on or off";
    case FieldDescriptor::CPPTYPE_UINT64:
      return "a whole number, 0 or more";
    default:
      return "a whole number";
  }
}

std::string ValueOf(const Setting& setting, const v1::GenerateRequest& request) {
  const Message& part = PartOf(setting, request);
  const google::protobuf::Reflection& reflection = *part.GetReflection();
  const FieldDescriptor& field = *part.GetDescriptor()->FindFieldByName(setting.field);
  if (field.is_repeated()) {
    return reflection.FieldSize(part, &field) == 0
               ? std::string(kDefault)
               : absl::StrCat("'", reflection.GetRepeatedString(part, &field, 0), "'");
  }
  if (!reflection.HasField(part, &field)) return std::string(kDefault);
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_FLOAT:
      return absl::StrCat(reflection.GetFloat(part, &field));
    case FieldDescriptor::CPPTYPE_INT32:
      return absl::StrCat(reflection.GetInt32(part, &field));
    case FieldDescriptor::CPPTYPE_UINT64:
      return absl::StrCat(reflection.GetUInt64(part, &field));
    default:
      return reflection.GetBool(part, &field) ? "on" : "off";
  }
}

}  // namespace

std::vector<std::string> ChatSettingNames() {
  std::vector<std::string> names;
  for (const Setting& setting : kSettings) names.emplace_back(setting.name);
  return names;
}

absl::Status SetChatSetting(absl::string_view name, absl::string_view value,
                            v1::GenerateRequest& request) {
  const Setting* setting = FindSetting(name);
  if (setting == nullptr) {
    const std::optional<std::string> meant = ClosestName(std::string(name), ChatSettingNames());
    return absl::InvalidArgumentError(absl::StrCat(
        "There is no setting ", name,
        meant.has_value() ? absl::StrCat("; did you mean ", *meant, "?") : "; /set lists them"));
  }
  Message& part = MutablePartOf(*setting, request);
  const FieldDescriptor& field = *part.GetDescriptor()->FindFieldByName(setting->field);
  if (value == kDefault) {
    part.GetReflection()->ClearField(&part, &field);
    return absl::OkStatus();
  }
  if (!Store(value, field, part)) {
    return absl::InvalidArgumentError(absl::StrCat(name, ": expected ", Expected(field), ", or ",
                                                   kDefault, "; found '", value, "'"));
  }
  return absl::OkStatus();
}

std::string FormatChatSettings(const v1::GenerateRequest& request) {
  std::vector<std::pair<std::string, std::string>> fields;
  for (const Setting& setting : kSettings)
    fields.emplace_back(setting.name, ValueOf(setting, request));
  return FormatFields(fields);
}

}  // namespace shira::cli
