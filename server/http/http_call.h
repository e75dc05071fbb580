// File: server/http/http_call.h
//
// One request that was let in: its exchange and its record, which becomes its line of the log and
// its metrics when it ends.

#ifndef SHIRA_SERVER_HTTP_HTTP_CALL_H_
#define SHIRA_SERVER_HTTP_HTTP_CALL_H_

#include <atomic>
#include <functional>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/work_queue.h"
#include "server/http/http_server.h"
#include "server/logging/call_log.h"
#include "server/logging/call_records.h"

namespace shira {

// Thread-safe.
class HttpCall {
 public:
  // `records` and `on_end` must outlive this object.
  HttpCall(std::shared_ptr<HttpExchange> exchange, std::shared_ptr<CallRecord> record,
           CallRecords& records, const CallEndObserver& on_end);
  ~HttpCall();
  HttpCall(const HttpCall&) = delete;
  HttpCall& operator=(const HttpCall&) = delete;

  HttpExchange& exchange() const { return *exchange_; }
  const std::shared_ptr<HttpExchange>& shared_exchange() const { return exchange_; }
  const std::shared_ptr<CallRecord>& record() const { return record_; }

  // The call has come to this end: the first time, its line is logged.
  void End(const absl::Status& status);

  // End(), and the response; of an error, the one that says it.
  void Finish(absl::StatusOr<HttpResponse> response);

  // Adds what every response of the call has.
  HttpResponse WithHeaders(HttpResponse response) const;

 private:
  const std::shared_ptr<HttpExchange> exchange_;
  const std::shared_ptr<CallRecord> record_;
  CallRecords& records_;
  const CallEndObserver& on_end_;
  std::atomic<bool> ended_ = false;
};

using HttpWork = std::function<absl::StatusOr<HttpResponse>()>;

// Finishes the call with what work() returns, which is called now; want of memory there is
// RESOURCE_EXHAUSTED.
void FinishHere(HttpCall& call, const HttpWork& work);
// The same on one of the lane's threads, in the line of the call's client. It is not called when
// the client is gone by then, or when too much waits (SERVER_BUSY).
void FinishOn(WorkQueue& lane, std::shared_ptr<HttpCall> call, HttpWork work);

}  // namespace shira

#endif  // SHIRA_SERVER_HTTP_HTTP_CALL_H_
