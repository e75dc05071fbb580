// File: server/grpc/upload_receiver.h
//
// One upload, message by message: the header, then the bytes of its files.

#ifndef SHIRA_SERVER_GRPC_UPLOAD_RECEIVER_H_
#define SHIRA_SERVER_GRPC_UPLOAD_RECEIVER_H_

#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/lifecycle/adapter_lifecycle.h"
#include "server/lifecycle/upload_store.h"
#include "shira/v1/adapter_admin.pb.h"

namespace shira {

// Not thread-safe. Its methods, and destroying it, take as long as the disk does. Nothing is left of
// an upload that is destroyed before Finish() has loaded it. Errors have an ErrorInfo.
class UploadReceiver {
 public:
  // `lifecycle` must outlive this object.
  explicit UploadReceiver(AdapterLifecycle& lifecycle) : lifecycle_(lifecycle) {}

  // UNIMPLEMENTED if the server takes no uploads; INVALID_ARGUMENT for anything but one header and
  // then bytes; errors of UploadStore.
  absl::Status Take(const v1::UploadAdapterRequest& message);

  // The error of an upload that ends without Finish(), with what is known of it.
  absl::Status Broken(const absl::Status& status) const;

  // After the last message: loads the adapter. Errors of UploadStore and of
  // AdapterLifecycle::LoadUpload().
  absl::StatusOr<AdapterLifecycle::LoadResult> Finish();

 private:
  absl::Status Begin(const v1::UploadAdapterRequest& message);

  AdapterLifecycle& lifecycle_;
  v1::UploadAdapterRequest::Header header_;
  std::unique_ptr<UploadStore::Upload> upload_;  // once there was a header
};

}  // namespace shira

#endif  // SHIRA_SERVER_GRPC_UPLOAD_RECEIVER_H_
