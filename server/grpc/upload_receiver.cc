#include "server/grpc/upload_receiver.h"

#include <string>

#include "base/status_macros.h"
#include "server/catalog/adapter_name.h"
#include "server/generation/error_details.h"

namespace shira {
namespace {

UploadManifest ManifestOf(const v1::UploadAdapterRequest::Header& header) {
  UploadManifest manifest;
  manifest.adapter = header.name();
  for (const v1::UploadAdapterRequest::File& file : header.files()) {
    manifest.files.push_back({file.name(), file.size_bytes(), file.sha256()});
  }
  return manifest;
}

}  // namespace

absl::Status UploadReceiver::Take(const v1::UploadAdapterRequest& message) {
  if (upload_ == nullptr) {
    const absl::Status begun = Begin(message);
    return begun.ok() ? begun : Broken(begun);
  }
  if (!message.has_data() && message.part_case() != v1::UploadAdapterRequest::PART_NOT_SET) {
    return Broken(absl::InvalidArgumentError("a header came after the first message"));
  }
  const absl::Status appended = upload_->Append(message.data());
  return appended.ok() ? appended : Broken(appended);
}

absl::Status UploadReceiver::Begin(const v1::UploadAdapterRequest& message) {
  if (lifecycle_.uploads() == nullptr) {
    return absl::UnimplementedError("this server takes no uploads (--upload-dir)");
  }
  if (!message.has_header()) {
    return absl::InvalidArgumentError("the first message has to be the header");
  }
  header_ = message.header();
  SHIRA_RETURN_IF_ERROR(ValidateAdapterName(header_.name()));
  SHIRA_ASSIGN_OR_RETURN(upload_, lifecycle_.BeginUpload(ManifestOf(header_)));
  return absl::OkStatus();
}

absl::Status UploadReceiver::Broken(const absl::Status& status) const {
  ErrorMetadata metadata;
  if (!header_.name().empty()) metadata["name"] = header_.name();
  return WithReason(status, Operation::kUploadAdapter, std::move(metadata));
}

absl::StatusOr<AdapterLifecycle::LoadResult> UploadReceiver::Finish() {
  // A stream without a message is one without a header.
  if (upload_ == nullptr) return Take({});
  const absl::StatusOr<std::string> path = upload_->Commit();
  if (!path.ok()) return Broken(path.status());
  absl::StatusOr<AdapterLifecycle::LoadResult> loaded =
      lifecycle_.LoadUpload(header_.name(), *path, header_.expected_sha256(),
                            {.replace = header_.replace(), .format = header_.format()});
  if (!loaded.ok()) {
    return WithReason(loaded.status(), Operation::kLoadAdapter, {{"name", header_.name()}});
  }
  return loaded;
}

}  // namespace shira
