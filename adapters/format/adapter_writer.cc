#include "adapters/format/adapter_writer.h"

#include <filesystem>

#include "absl/strings/match.h"
#include "absl/strings/str_join.h"
#include "adapters/format/packed_writer.h"
#include "adapters/format/peft_writer.h"
#include "base/atomic_file.h"
#include "base/status_macros.h"
#include "base/strings.h"

namespace shira {
namespace {

absl::Status WritePacked(const SparseAdapter& adapter, const std::string& path,
                         const AdapterWriteOptions& options) {
  std::error_code error;
  if (!options.replace && std::filesystem::exists(path, error)) {
    return absl::AlreadyExistsError(StrCat(path, " exists"));
  }
  SHIRA_ASSIGN_OR_RETURN(AtomicFile file, AtomicFile::Create(path));
  SHIRA_ASSIGN_OR_RETURN(const PackedFile packed,
                         PackAdapter(adapter, {.round_to_bf16 = options.values == DType::kBF16,
                                               .tool = options.tool}));
  SHIRA_RETURN_IF_ERROR(file.Append(packed.bytes));
  return file.Commit();
}

constexpr AdapterWriter kWriters[] = {
    {"peft", "", "a folder that PEFT loads", WritePeftShira},
    {"packed", ".shira", "one small file named *.shira", WritePacked},
};

}  // namespace

absl::Span<const AdapterWriter> AdapterWriters() { return kWriters; }

absl::StatusOr<const AdapterWriter*> FindAdapterWriter(std::string_view name,
                                                       std::string_view path) {
  const AdapterWriter* by_default = nullptr;
  for (const AdapterWriter& writer : kWriters) {
    if (!name.empty()) {
      if (writer.name == name) return &writer;
    } else if (writer.suffix.empty()) {
      by_default = &writer;
    } else if (absl::EndsWith(ToAbsl(path), ToAbsl(writer.suffix))) {
      return &writer;
    }
  }
  if (by_default != nullptr) return by_default;
  return absl::InvalidArgumentError(
      StrCat("no adapter is written in the format '", name, "'; known are ",
             absl::StrJoin(kWriters, ", ", [](std::string* out, const AdapterWriter& writer) {
               StrAppend(out, writer.name);
             })));
}

}  // namespace shira
