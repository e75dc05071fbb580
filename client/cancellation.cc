#include "client/cancellation.h"

#include <grpcpp/client_context.h>

#include <algorithm>
#include <chrono>

#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace shira {
namespace {

constexpr absl::Duration kCancelledWithin = absl::Milliseconds(10);

}  // namespace

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
  // In short sleeps: unlike a wait on the mutex with a limit, they do not go by the wall clock,
  // which may be set meanwhile.
  using Clock = std::chrono::steady_clock;
  const Clock::time_point start = Clock::now();
  while (!cancelled()) {
    const absl::Duration left = duration - absl::FromChrono(Clock::now() - start);
    if (left <= absl::ZeroDuration()) return false;
    absl::SleepFor(std::min(left, kCancelledWithin));
  }
  return true;
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
