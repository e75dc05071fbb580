// File: server/network/message_memory.h
//
// Memory for messages that clients send: from the moment that a message says how long it is until
// its call ends, or its next message begins. message_admission.h asks it.

#ifndef SHIRA_SERVER_NETWORK_MESSAGE_MEMORY_H_
#define SHIRA_SERVER_NETWORK_MESSAGE_MEMORY_H_

#include <cstdint>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace shira {

// Thread-safe. Shared by every port of a process and by the connections that outlive them.
class MessageMemory {
 public:
  struct Options {
    int64_t limit_bytes = int64_t{256} << 20;  // of all messages
    // A message that is not complete so long after it began ends its call.
    absl::Duration timeout = absl::Seconds(60);
  };
  // Messages up to this size find room when large ones have taken all that they may have.
  static constexpr int64_t kSmallBytes = int64_t{64} << 10;
  // Of the limit: one connection's share, and that of all large messages.
  static constexpr int64_t kConnectionDivisor = 4;
  static constexpr double kLargeShare = 0.75;

  struct Stats {
    int64_t held_bytes = 0;
    int64_t refused = 0;  // messages, since the start
  };

  explicit MessageMemory(const Options& options) : options_(options) {}

  // Whether `bytes` more may be held for a connection, which is told apart by its address and never
  // looked at. What was admitted has to be released.
  bool Admit(const void* connection, int64_t bytes);
  void Release(const void* connection, int64_t bytes);

  Stats stats() const;
  const Options& options() const { return options_; }

 private:
  const Options options_;
  mutable absl::Mutex mutex_;
  int64_t refused_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t held_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  absl::flat_hash_map<const void*, int64_t> held_by_
      ABSL_GUARDED_BY(mutex_);  // bytes, where there are any
};

}  // namespace shira

#endif  // SHIRA_SERVER_NETWORK_MESSAGE_MEMORY_H_
