#include "server/logging/call_records.h"

#include <algorithm>
#include <random>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_format.h"
#include "base/steady_clock.h"
#include "base/steady_wait.h"

namespace shira {

std::string CallRecord::client() const {
  if (!identity.empty()) return identity;
  // A port is a connection's, and a client may open many. A unix socket has none.
  const bool has_port = peer.starts_with("ipv4:") || peer.starts_with("ipv6:");
  return has_port ? peer.substr(0, peer.rfind(':')) : peer;
}

void CallRecords::Add(const void* call, std::shared_ptr<CallRecord> record) {
  absl::MutexLock lock(&mutex_);
  records_[call] = std::move(record);
}

void CallRecords::Remove(const void* call, const std::shared_ptr<CallRecord>& record) {
  absl::MutexLock lock(&mutex_);
  const auto it = records_.find(call);
  if (it != records_.end() && it->second == record) records_.erase(it);
}

void CallRecords::WaitForEnd(std::string_view prefix, absl::Duration timeout) const {
  const auto none = [&] {
    mutex_.AssertHeld();
    return std::none_of(records_.begin(), records_.end(), [&](const auto& record) {
      return record.second->method.starts_with(prefix);
    });
  };
  absl::MutexLock lock(&mutex_);
  AwaitUntil(mutex_, absl::Condition(&none), SteadyNow() + timeout);
}

std::shared_ptr<CallRecord> CallRecords::Of(const void* call) const {
  {
    absl::MutexLock lock(&mutex_);
    const auto it = records_.find(call);
    if (it != records_.end()) return it->second;
  }
  auto record = std::make_shared<CallRecord>();
  record->request_id = NewRequestId();
  return record;
}

std::string NewRequestId() {
  std::random_device device;
  return absl::StrFormat("%08x%08x", device(), device());
}

bool IsRequestId(std::string_view text) {
  return !text.empty() && text.size() <= kMaxRequestIdBytes &&
         std::all_of(text.begin(), text.end(),
                     [](char c) { return absl::ascii_isgraph(static_cast<unsigned char>(c)); });
}

}  // namespace shira
