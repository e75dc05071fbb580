#include "server/grpc/adapter_upload.h"

#include <memory>
#include <string>
#include <thread>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "base/status_macros.h"
#include "base/steady_clock.h"
#include "base/steady_wait.h"
#include "base/strings.h"
#include "server/catalog/adapter_name.h"
#include "server/generation/error_details.h"
#include "server/lifecycle/upload_store.h"

namespace shira {
namespace {

// Cancels a call whose stream has been silent for too long, since Read() waits without a limit.
class IdleWatch {
 public:
  IdleWatch(grpc::ServerContext& context, absl::Duration timeout)
      : context_(context), timeout_(timeout), thread_([this] { Run(); }) {}
  ~IdleWatch() {
    {
      absl::MutexLock lock(&mutex_);
      over_ = true;
    }
    thread_.join();
  }

  // A message has come.
  void Reset() {
    absl::MutexLock lock(&mutex_);
    last_ = SteadyNow();
  }
  bool expired() const {
    absl::MutexLock lock(&mutex_);
    return expired_;
  }

 private:
  void Run() {
    absl::MutexLock lock(&mutex_);
    while (!AwaitUntil(mutex_, absl::Condition(&over_), last_ + timeout_)) {
      if (SteadyNow() < last_ + timeout_) continue;
      expired_ = true;
      context_.TryCancel();
      return;
    }
  }

  grpc::ServerContext& context_;
  const absl::Duration timeout_;
  mutable absl::Mutex mutex_;
  SteadyTime last_ ABSL_GUARDED_BY(mutex_) = SteadyNow();
  bool over_ ABSL_GUARDED_BY(mutex_) = false;
  bool expired_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;  // last: it uses what is above
};

UploadManifest ManifestOf(const v1::UploadAdapterRequest::Header& header) {
  UploadManifest manifest;
  manifest.adapter = header.name();
  for (const v1::UploadAdapterRequest::File& file : header.files()) {
    manifest.files.push_back({file.name(), file.size_bytes(), file.sha256()});
  }
  return manifest;
}

// The stream's bytes, on the disk; its folder.
absl::StatusOr<std::string> Receive(AdapterLifecycle& lifecycle,
                                    const v1::UploadAdapterRequest::Header& header,
                                    IdleWatch& watch, grpc::ServerContext& context,
                                    grpc::ServerReaderInterface<v1::UploadAdapterRequest>& stream) {
  SHIRA_RETURN_IF_ERROR(ValidateAdapterName(header.name()));
  SHIRA_ASSIGN_OR_RETURN(const std::unique_ptr<UploadStore::Upload> upload,
                         lifecycle.BeginUpload(ManifestOf(header)));
  v1::UploadAdapterRequest message;
  while (stream.Read(&message)) {
    watch.Reset();
    if (!message.has_data() && message.part_case() != v1::UploadAdapterRequest::PART_NOT_SET) {
      return absl::InvalidArgumentError("a header came after the first message");
    }
    SHIRA_RETURN_IF_ERROR(upload->Append(message.data()));
  }
  if (watch.expired()) {
    return absl::DeadlineExceededError("the stream brought nothing for too long");
  }
  // Else a client that went away after its last byte would have its adapter loaded.
  if (context.IsCancelled()) return absl::CancelledError("the client has cancelled the upload");
  return upload->Commit();
}

}  // namespace

absl::StatusOr<AdapterLifecycle::LoadResult> ReceiveUpload(
    AdapterLifecycle& lifecycle, grpc::ServerContext& context,
    grpc::ServerReaderInterface<v1::UploadAdapterRequest>& stream, absl::Duration idle_timeout) {
  if (lifecycle.uploads() == nullptr) {
    return WithReason(absl::UnimplementedError("this server takes no uploads (--upload-dir)"),
                      Operation::kUploadAdapter);
  }
  v1::UploadAdapterRequest first;
  absl::StatusOr<std::string> path;
  {
    IdleWatch watch(context, idle_timeout);
    if (!stream.Read(&first) || !first.has_header()) {
      return WithReason(absl::InvalidArgumentError("the first message has to be the header"),
                        Operation::kUploadAdapter);
    }
    watch.Reset();
    path = Receive(lifecycle, first.header(), watch, context, stream);
  }
  const v1::UploadAdapterRequest::Header& header = first.header();
  if (!path.ok()) {
    return WithReason(path.status(), Operation::kUploadAdapter, {{"name", header.name()}});
  }
  absl::StatusOr<AdapterLifecycle::LoadResult> loaded =
      lifecycle.LoadUpload(header.name(), *path, header.expected_sha256(),
                           {.replace = header.replace(), .format = header.format()});
  if (!loaded.ok()) {
    return WithReason(loaded.status(), Operation::kLoadAdapter, {{"name", header.name()}});
  }
  return loaded;
}

}  // namespace shira
