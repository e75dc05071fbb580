// File: client/cancellation.h
//
// Stops calls from another thread, for example when the user presses Ctrl-C.
//
//   shira::Cancellation cancellation;
//   std::thread watcher([&] { WaitForUser(); cancellation.Cancel(); });
//   auto answer = client.Generate(request, {.cancellation = &cancellation});  // CANCELLED

#ifndef SHIRA_CLIENT_CANCELLATION_H_
#define SHIRA_CLIENT_CANCELLATION_H_

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_set.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace grpc {
class ClientContext;
}  // namespace grpc

namespace shira {

// One-way switch that any number of calls can share: once cancelled, running calls end with
// CANCELLED and later ones do not start. Thread-safe. Must outlive the calls that were given it.
class Cancellation {
 public:
  Cancellation() = default;
  Cancellation(const Cancellation&) = delete;
  Cancellation& operator=(const Cancellation&) = delete;

  // Returns at once; the calls end soon after. Calling it again does nothing.
  void Cancel() ABSL_LOCKS_EXCLUDED(mutex_);

  bool cancelled() const ABSL_LOCKS_EXCLUDED(mutex_);

  // Sleeps, but not past Cancel(). Returns cancelled().
  bool SleepFor(absl::Duration duration) const ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  friend class ClientCall;

  void Attach(grpc::ClientContext* context) ABSL_LOCKS_EXCLUDED(mutex_);
  void Detach(grpc::ClientContext* context) ABSL_LOCKS_EXCLUDED(mutex_);

  mutable absl::Mutex mutex_;
  bool cancelled_ ABSL_GUARDED_BY(mutex_) = false;
  absl::flat_hash_set<grpc::ClientContext*> contexts_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace shira

#endif  // SHIRA_CLIENT_CANCELLATION_H_
