// File: server/grpc/adapter_upload.h
//
// The server's side of UploadAdapter: a stream of messages into the upload store, then the adapter
// loaded from there.

#ifndef SHIRA_SERVER_GRPC_ADAPTER_UPLOAD_H_
#define SHIRA_SERVER_GRPC_ADAPTER_UPLOAD_H_

#include <grpcpp/server_context.h>
#include <grpcpp/support/sync_stream.h>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/lifecycle/adapter_lifecycle.h"
#include "shira/v1/adapter_admin.pb.h"

namespace shira {

// A stream that brings nothing for so long is cancelled: its client is gone, or as good as.
inline constexpr absl::Duration kUploadIdleTimeout = absl::Seconds(60);

// Reads the stream to its end, or to the first error. Nothing is left of an upload that is not
// loaded.
//   UNIMPLEMENTED       the server takes no uploads
//   INVALID_ARGUMENT    no header first, or a second one; errors of UploadStore
//   DEADLINE_EXCEEDED   idle for too long
//   errors of UploadStore, and of AdapterLifecycle::LoadUpload()
// All have an ErrorInfo.
absl::StatusOr<AdapterLifecycle::LoadResult> ReceiveUpload(
    AdapterLifecycle& lifecycle, grpc::ServerContext& context,
    grpc::ServerReaderInterface<v1::UploadAdapterRequest>& stream, absl::Duration idle_timeout);

}  // namespace shira

#endif  // SHIRA_SERVER_GRPC_ADAPTER_UPLOAD_H_
