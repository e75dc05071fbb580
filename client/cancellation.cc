#include "client/cancellation.h"

#include <grpcpp/client_context.h>

#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace shira {

void Cancellation::Cancel() {
  absl::MutexLock lock(&mutex_);
  cancelled_ = true;
  for (grpc::ClientContext* context : contexts_) context->TryCancel();
}

bool Cancellation::cancelled() const {
  absl::MutexLock lock(&mutex_);
  return cancelled_;
}

bool Cancellation::SleepFor(absl::Duration duration) const {
  absl::MutexLock lock(&mutex_);
  return mutex_.AwaitWithTimeout(absl::Condition(&cancelled_), duration);
}

void Cancellation::Attach(grpc::ClientContext* context) {
  absl::MutexLock lock(&mutex_);
  contexts_.insert(context);
  // gRPC remembers this for a call that has not begun.
  if (cancelled_) context->TryCancel();
}

void Cancellation::Detach(grpc::ClientContext* context) {
  absl::MutexLock lock(&mutex_);
  contexts_.erase(context);
}

}  // namespace shira
