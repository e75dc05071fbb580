#include "server/grpc/adapter_upload.h"

#include <grpcpp/alarm.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "base/out_of_memory.h"
#include "base/steady_clock.h"
#include "server/generation/error_details.h"
#include "server/grpc/status_conversion.h"
#include "server/grpc/upload_receiver.h"
#include "server/logging/request_scope.h"

namespace shira {
namespace {

// How soon a stream asks again for a place in a lane that was full.
constexpr absl::Duration kRetryInterval = absl::Milliseconds(100);

std::chrono::system_clock::time_point In(absl::Duration duration) {
  return absl::ToChronoTime(absl::Now() + duration);
}

// Cancels a call whose stream has been silent for too long. Thread-safe. Alarms outlive their call:
// one that is cancelled is called soon, not at once.
class IdleWatch : public std::enable_shared_from_this<IdleWatch> {
 public:
  IdleWatch(grpc::CallbackServerContext& context, absl::Duration timeout)
      : context_(context), timeout_(timeout) {}

  // Once, before the others. After it, Stop() has to be called before the call ends.
  void Start() ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    Arm(timeout_);
  }
  // A message is waited for from now on, or has come.
  void SetWaiting(bool waiting) ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    silent_since_ = waiting ? SteadyNow() : SteadyTime::InfiniteFuture();
  }
  void Stop() ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    over_ = true;
    alarm_.reset();
  }
  bool expired() const ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    return expired_;
  }

 private:
  void Arm(absl::Duration wait) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    alarm_ = std::make_unique<grpc::Alarm>();
    alarm_->Set(In(wait), [self = shared_from_this()](bool) { self->OnAlarm(); });
  }
  void OnAlarm() ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    if (over_) return;
    const absl::Duration left = silent_since_ + timeout_ - SteadyNow();
    if (left > absl::ZeroDuration()) return Arm(std::min(left, timeout_));
    expired_ = true;
    context_.TryCancel();
  }

  grpc::CallbackServerContext& context_;
  const absl::Duration timeout_;
  mutable absl::Mutex mutex_;
  SteadyTime silent_since_ ABSL_GUARDED_BY(mutex_) = SteadyTime::InfiniteFuture();
  bool over_ ABSL_GUARDED_BY(mutex_) = false;
  bool expired_ ABSL_GUARDED_BY(mutex_) = false;
  std::unique_ptr<grpc::Alarm> alarm_ ABSL_GUARDED_BY(mutex_);
};

// A stream is read, and its messages are worked off, one after the other, so that nothing here is
// used by two threads at once.
class UploadReactor final : public grpc::ServerReadReactor<v1::UploadAdapterRequest> {
 public:
  UploadReactor(AdapterLifecycle& lifecycle, WorkQueue& lane, std::shared_ptr<CallRecord> record,
                grpc::CallbackServerContext& context, absl::Duration idle_timeout, UploadEnd on_end)
      : lane_(lane),
        record_(std::move(record)),
        context_(context),
        on_end_(std::move(on_end)),
        idle_(std::make_shared<IdleWatch>(context, idle_timeout)),
        receiver_(std::in_place, lifecycle) {
    idle_->Start();
    Read();
  }

  void OnReadDone(bool ok) override {
    idle_->SetWaiting(false);
    const absl::Status queued = Queue(ok);
    if (queued.ok()) return;
    if (is_first_) {
      idle_->Stop();
      Finish(ToGrpcStatus(WithReason(queued, "SERVER_BUSY")));
    } else {
      QueueLater(ok);
    }
  }

  void OnDone() override { delete this; }

 private:
  void Read() {
    idle_->SetWaiting(true);
    StartRead(&message_);
  }

  // Takes the message that was read, or ends the upload if there was none, in the lane.
  absl::Status Queue(bool has_message) {
    return lane_.Add(record_->client(), [this, has_message] {
      const RequestScope scope(record_->request_id);
      is_first_ = false;
      has_message ? Take() : End();
    });
  }

  // What has been received so far is not given up because the lane is full for a moment.
  void QueueLater(bool has_message) {
    retry_.emplace();
    retry_->Set(In(kRetryInterval), [this, has_message](bool) {
      if (!Queue(has_message).ok()) QueueLater(has_message);
    });
  }

  void Take() {
    const absl::Status taken = CatchOutOfMemory([this] { return receiver_->Take(message_); });
    if (!taken.ok()) return FinishWith(taken);
    Read();
  }

  void End() {
    if (idle_->expired()) {
      return FinishWith(receiver_->Broken(
          absl::DeadlineExceededError("the stream brought nothing for too long")));
    }
    // Else a client that went away after its last byte would have its adapter loaded.
    if (context_.IsCancelled()) {
      return FinishWith(
          receiver_->Broken(absl::CancelledError("the client has cancelled the upload")));
    }
    FinishWith(CatchOutOfMemory([this] { return receiver_->Finish(); }));
  }

  void FinishWith(absl::StatusOr<AdapterLifecycle::LoadResult> loaded) {
    idle_->Stop();
    receiver_.reset();  // here, since it may have files to delete
    Finish(ToGrpcStatus(on_end_(std::move(loaded))));
  }

  WorkQueue& lane_;
  const std::shared_ptr<CallRecord> record_;
  grpc::CallbackServerContext& context_;
  const UploadEnd on_end_;
  const std::shared_ptr<IdleWatch> idle_;
  std::optional<UploadReceiver> receiver_;  // until the call ends
  v1::UploadAdapterRequest message_;
  bool is_first_ = true;  // nothing has been received yet
  std::optional<grpc::Alarm> retry_;
};

class RefusedUpload final : public grpc::ServerReadReactor<v1::UploadAdapterRequest> {
 public:
  explicit RefusedUpload(const absl::Status& status) { Finish(ToGrpcStatus(status)); }
  void OnDone() override { delete this; }
};

}  // namespace

grpc::ServerReadReactor<v1::UploadAdapterRequest>* ReceiveUpload(
    absl::StatusOr<AdapterLifecycle*> lifecycle, WorkQueue& lane, const CallRecords& records,
    grpc::CallbackServerContext& context, absl::Duration idle_timeout, UploadEnd on_end) {
  if (!lifecycle.ok()) return new RefusedUpload(lifecycle.status());
  return new UploadReactor(**lifecycle, lane, records.Of(&context), context, idle_timeout,
                           std::move(on_end));
}

}  // namespace shira
