#include "adapters/format/adapter_format.h"

#include "absl/status/status.h"
#include "absl/strings/str_join.h"
#include "adapters/format/peft_shira.h"
#include "base/strings.h"

namespace shira {
namespace {

constexpr AdapterFormat kFormats[] = {
    {"peft_shira", "SHIRA", ReadPeftShira},
};

}  // namespace

absl::Span<const AdapterFormat> AdapterFormats() { return kFormats; }

absl::StatusOr<const AdapterFormat*> FindAdapterFormat(const AdapterFiles& files) {
  const auto type = files.config.find("peft_type");
  if (type == files.config.end() || !type->is_string()) {
    return absl::InvalidArgumentError(
        StrCat(files.config_path(), ": peft_type: expected a string, found ",
               type == files.config.end() ? "nothing" : type->type_name()));
  }
  const std::string& name = type->get_ref<const std::string&>();
  for (const AdapterFormat& format : kFormats) {
    if (format.peft_type == name) return &format;
  }
  return absl::UnimplementedError(StrCat(
      files.config_path(), ": peft_type: expected one of ",
      absl::StrJoin(
          kFormats, ", ",
          [](std::string* out, const AdapterFormat& format) { StrAppend(out, format.peft_type); }),
      ", found ", name));
}

}  // namespace shira
