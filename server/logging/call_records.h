// File: server/logging/call_records.h
//
// One record per call under way, whatever the service: who calls, under which id. A service adds
// what it knows; when the call ends, that becomes its line in the access log and its metrics.

#ifndef SHIRA_SERVER_LOGGING_CALL_RECORDS_H_
#define SHIRA_SERVER_LOGGING_CALL_RECORDS_H_

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "base/steady_clock.h"
#include "server/access/role.h"
#include "server/logging/log_event.h"

namespace shira {

struct CallRecord {
  std::string method;    // "/package.Service/Method"
  std::string peer;      // gRPC's words for the other end: "ipv4:10.0.0.1:12345"
  std::string identity;  // empty: the caller has none
  RoleSet roles;         // of that identity
  std::string request_id;
  SteadyTime start;
  std::vector<LogField> details;  // added by the service, before it finishes the call

  // What limits per client are counted by: the identity, or else the peer without its port.
  std::string client() const;
};

// Thread-safe. A call's key is the address of an object that its front end has one of per call;
// the object is never read.
class CallRecords {
 public:
  void Add(const void* call, std::shared_ptr<CallRecord> record) ABSL_LOCKS_EXCLUDED(mutex_);
  // Does nothing if the record at that address is another one by now: memory is used again.
  void Remove(const void* call, const std::shared_ptr<CallRecord>& record)
      ABSL_LOCKS_EXCLUDED(mutex_);

  // Until no call of a service whose path begins with `prefix` is under way, or `timeout` is over.
  // Then every call's last message has reached its client, or the kernel.
  void WaitForEnd(std::string_view prefix, absl::Duration timeout) const
      ABSL_LOCKS_EXCLUDED(mutex_);

  // Never nullptr: for a call that was not added, a new record.
  std::shared_ptr<CallRecord> Of(const void* call) const ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  mutable absl::Mutex mutex_;
  absl::flat_hash_map<const void*, std::shared_ptr<CallRecord>> records_ ABSL_GUARDED_BY(mutex_);
};

// 16 hexadecimal digits.
std::string NewRequestId();

// The longest id that a client may give.
inline constexpr size_t kMaxRequestIdBytes = 128;

// Whether an id may go into log lines as it is: 1 to kMaxRequestIdBytes visible ASCII characters.
bool IsRequestId(std::string_view text);

}  // namespace shira

#endif  // SHIRA_SERVER_LOGGING_CALL_RECORDS_H_
