#include "server/network/message_memory.h"

namespace shira {

bool MessageMemory::Admit(const void* connection, int64_t bytes) {
  if (bytes == 0) return true;
  absl::MutexLock lock(&mutex_);
  const auto held = held_by_.find(connection);
  const int64_t of_connection = held == held_by_.end() ? 0 : held->second;
  const double share = bytes > kSmallBytes ? kLargeShare : 1.0;
  if (of_connection + bytes > options_.limit_bytes / kConnectionDivisor ||
      static_cast<double>(held_bytes_ + bytes) >
          share * static_cast<double>(options_.limit_bytes)) {
    ++refused_;
    return false;
  }
  held_bytes_ += bytes;
  held_by_[connection] = of_connection + bytes;
  return true;
}

void MessageMemory::Release(const void* connection, int64_t bytes) {
  if (bytes == 0) return;
  absl::MutexLock lock(&mutex_);
  held_bytes_ -= bytes;
  const auto held = held_by_.find(connection);
  if ((held->second -= bytes) == 0) held_by_.erase(held);
}

MessageMemory::Stats MessageMemory::stats() const {
  absl::MutexLock lock(&mutex_);
  return {.held_bytes = held_bytes_, .refused = refused_};
}

}  // namespace shira
