// File: server/grpc/adapter_upload.h
//
// The server's side of UploadAdapter: a stream of messages into the upload store, then the adapter
// loaded from there.

#ifndef SHIRA_SERVER_GRPC_ADAPTER_UPLOAD_H_
#define SHIRA_SERVER_GRPC_ADAPTER_UPLOAD_H_

#include <grpcpp/server_context.h>
#include <grpcpp/support/server_callback.h>

#include <functional>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/work_queue.h"
#include "server/lifecycle/adapter_lifecycle.h"
#include "server/logging/call_records.h"
#include "shira/v1/adapter_admin.pb.h"

namespace shira {

// A stream that brings nothing for so long is cancelled: its client is gone, or as good as.
inline constexpr absl::Duration kUploadIdleTimeout = absl::Seconds(60);

// Gets an upload's outcome and returns the call's. Called once, on a thread of the lane. Errors:
//   UNIMPLEMENTED       the server takes no uploads
//   INVALID_ARGUMENT    no header first, or a second one; errors of UploadStore
//   DEADLINE_EXCEEDED   idle for too long
//   CANCELLED           the client went away
//   errors of UploadStore, and of AdapterLifecycle::LoadUpload()
// All have an ErrorInfo.
using UploadEnd = std::function<absl::Status(absl::StatusOr<AdapterLifecycle::LoadResult>)>;

// Reads the stream to its end, or to the first error. Nothing is left of an upload that is not
// loaded. What a message needs of the disk is done in `lane`, in the line of the call's client, and
// between two messages the call holds no thread. With an error for `lifecycle`, or when too much
// waits in the lane at the first message (RESOURCE_EXHAUSTED, SERVER_BUSY), the call ends and
// `on_end` is not called. What is referred to must outlive the call.
grpc::ServerReadReactor<v1::UploadAdapterRequest>* ReceiveUpload(
    absl::StatusOr<AdapterLifecycle*> lifecycle, WorkQueue& lane, const CallRecords& records,
    grpc::CallbackServerContext& context, absl::Duration idle_timeout, UploadEnd on_end);

}  // namespace shira

#endif  // SHIRA_SERVER_GRPC_ADAPTER_UPLOAD_H_
