#include "adapters/format/adapter_format.h"

#include "absl/status/status.h"
#include "absl/strings/str_join.h"
#include "adapters/format/overwrite_patch.h"
#include "adapters/format/packed_shira.h"
#include "adapters/format/peft_shira.h"
#include "adapters/format/peft_supertuning.h"
#include "base/strings.h"

namespace shira {
namespace {

constexpr AdapterFormat kFormats[] = {
    {"peft_shira", "SHIRA", nullptr, ReadPeftShira},
    {"peft_supertuning", "SUPERTUNING", nullptr, ReadPeftSupertuning},
    {"packed_shira", "", IsPackedShira, ReadPackedShira},
    {"overwrite_patch", "", IsOverwritePatch, ReadOverwritePatch},
};

absl::StatusOr<const AdapterFormat*> FindByPeftType(const AdapterFiles& files) {
  const auto type = files.config.find("peft_type");
  if (type == files.config.end() || !type->is_string()) {
    return absl::InvalidArgumentError(
        StrCat(files.config_path, ": peft_type: expected a string, found ",
               type == files.config.end() ? "nothing" : type->type_name()));
  }
  const std::string& name = type->get_ref<const std::string&>();
  std::vector<absl::string_view> known;
  for (const AdapterFormat& format : kFormats) {
    if (format.peft_type.empty()) continue;
    if (format.peft_type == name) return &format;
    known.push_back(ToAbsl(format.peft_type));
  }
  return absl::UnimplementedError(StrCat(files.config_path, ": peft_type: expected one of ",
                                         absl::StrJoin(known, ", "), ", found ", name));
}

}  // namespace

absl::Span<const AdapterFormat> AdapterFormats() { return kFormats; }

absl::StatusOr<const AdapterFormat*> FindAdapterFormat(const AdapterFiles& files,
                                                       const Safetensors& tensors) {
  if (!files.config_path.empty()) return FindByPeftType(files);
  std::vector<absl::string_view> known;
  for (const AdapterFormat& format : kFormats) {
    if (format.matches == nullptr) continue;
    if (format.matches(tensors)) return &format;
    known.push_back(ToAbsl(format.name));
  }
  return absl::UnimplementedError(
      StrCat(files.tensors_path, ": expected one of ", absl::StrJoin(known, ", "),
             ", found no such tensors; PEFT's adapters are folders with adapter_config.json"));
}

}  // namespace shira
