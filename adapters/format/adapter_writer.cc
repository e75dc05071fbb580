#include "adapters/format/adapter_writer.h"

#include "absl/strings/match.h"
#include "absl/strings/str_join.h"
#include "adapters/format/peft_writer.h"
#include "base/strings.h"

namespace shira {
namespace {

constexpr AdapterWriter kWriters[] = {
    {"peft", "", "a folder that PEFT loads", WritePeftShira},
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
