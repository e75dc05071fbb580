#include "server/residency/delta_supplier.h"

#include <utility>

#include "base/status_macros.h"
#include "base/strings.h"

namespace shira {
namespace {

// What the reader says of content that it does not accept.
bool IsAboutContent(const absl::Status& status) {
  return absl::IsInvalidArgument(status) || absl::IsUnimplemented(status) ||
         absl::IsFailedPrecondition(status) || absl::IsDataLoss(status);
}

constexpr char kWhatToDo[] =
    ": put the file that was loaded back, or unload the adapter and load it again";

}  // namespace

DeltaSource SourceOf(const Catalog::Uses::Version& version) {
  return {version.id.name, version.summary->digest, version.origin.source,
          version.origin.source_digest, version.held};
}

absl::StatusOr<DeltaSupplier::Supply> DeltaSupplier::Get(const DeltaSource& source) {
  if (source.held != nullptr) return Supply{source.held};
  if (auto kept = memory_.FindDeltas(source.digest)) return Supply{std::move(kept)};
  SHIRA_ASSIGN_OR_RETURN(
      std::shared_ptr<const SparseAdapter> deltas,
      readings_.Do({source.name, source.digest},
                   [&]() -> absl::StatusOr<std::shared_ptr<const SparseAdapter>> {
                     SHIRA_ASSIGN_OR_RETURN(auto read, Read(source));
                     return memory_.KeepDeltas(std::move(read));
                   }));
  return Supply{std::move(deltas), /*was_read=*/true};
}

absl::StatusOr<std::shared_ptr<const SparseAdapter>> DeltaSupplier::Read(
    const DeltaSource& source) const {
  const std::string subject =
      StrCat("adapter '", source.name, "' was loaded from ", source.path, " and is needed again");
  absl::StatusOr<std::shared_ptr<const SparseAdapter>> adapter = read_(source.path);
  if (IsAboutContent(adapter.status())) {
    return absl::DataLossError(StrCat(subject, ", but its content has changed (",
                                      ToStd(adapter.status().message()), ")", kWhatToDo));
  }
  if (!adapter.ok()) {
    return absl::Status(adapter.status().code(),
                        StrCat(subject, ", but: ", ToStd(adapter.status().message()), kWhatToDo));
  }
  if ((*adapter)->digest != source.file_digest) {
    return absl::DataLossError(StrCat(subject, ", but its content has changed: expected SHA-256 ",
                                      source.file_digest.Hex(), ", found ",
                                      (*adapter)->digest.Hex(), kWhatToDo));
  }
  if (source.digest == source.file_digest) return adapter;
  auto blend = std::make_shared<SparseAdapter>(**adapter);
  blend->digest = source.digest;
  return std::shared_ptr<const SparseAdapter>(std::move(blend));
}

}  // namespace shira
