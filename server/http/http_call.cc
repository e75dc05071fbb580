#include "server/http/http_call.h"

#include <string>
#include <utility>

#include "base/out_of_memory.h"
#include "server/generation/error_details.h"
#include "server/http/error_response.h"
#include "server/logging/request_scope.h"

namespace shira {
namespace {

// Probes come every few seconds.
spdlog::level::level_enum LevelOf(const std::string& method) {
  return method == "/health" ? spdlog::level::debug : spdlog::level::info;
}

}  // namespace

HttpCall::HttpCall(std::shared_ptr<HttpExchange> exchange, std::shared_ptr<CallRecord> record,
                   CallRecords& records, const CallEndObserver& on_end)
    : exchange_(std::move(exchange)),
      record_(std::move(record)),
      records_(records),
      on_end_(on_end) {
  records_.Add(this, record_);
}

HttpCall::~HttpCall() { records_.Remove(this, record_); }

void HttpCall::End(const absl::Status& status) {
  if (ended_.exchange(true)) return;
  const std::string reason = status.ok() ? "" : DetailsOf(status).reason;
  on_end_(record_->method, status.code(),
          LogCall(LevelOf(record_->method), *record_, status.code(), reason));
}

void HttpCall::Finish(absl::StatusOr<HttpResponse> response) {
  End(response.status());
  exchange_->Respond(
      WithHeaders(response.ok() ? *std::move(response) : ErrorResponse(response.status())));
}

HttpResponse HttpCall::WithHeaders(HttpResponse response) const {
  response.headers.emplace_back("X-Request-Id", record_->request_id);
  return response;
}

void FinishHere(HttpCall& call, const HttpWork& work) {
  const RequestScope scope(call.record()->request_id);
  call.Finish(CatchOutOfMemory(work));
}

void FinishOn(WorkQueue& lane, std::shared_ptr<HttpCall> call, HttpWork work) {
  auto run = [call, work = std::move(work)] {
    if (call->exchange().is_gone()) {
      call->End(absl::CancelledError("the client is gone"));
    } else {
      FinishHere(*call, work);
    }
  };
  const absl::Status queued = lane.Add(call->record()->client(), std::move(run));
  if (!queued.ok()) call->Finish(WithReason(queued, "SERVER_BUSY"));
}

}  // namespace shira
