#include "server/generation/generation_call.h"

#include <spdlog/spdlog.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/time.h"
#include "base/status_macros.h"
#include "base/strings.h"
#include "server/generation/error_details.h"
#include "server/generation/log_text.h"
#include "server/generation/start_generation.h"

namespace shira {
namespace {

constexpr size_t kMaxMessageBytes = 1000;  // in the log
constexpr size_t kMaxSelectionBytes = 200;

std::string IdentityLabel(const AnswerSummary& summary) {
  if (summary.adapters.empty()) return "base";
  return absl::StrJoin(summary.adapters, "+", [](std::string* out, const AdapterRef& adapter) {
    absl::StrAppend(out, adapter.name, "@", adapter.version);
    if (adapter.weight != 1.0) absl::StrAppend(out, "*", adapter.weight);
  });
}

// As the client wrote it: whatever bytes that are. Empty: the default.
std::string SelectionLabel(const GenerateRequest& request) {
  std::string names;
  if (!request.adapters.has_value()) return names;
  for (const AdapterSelectionTerm& term : *request.adapters) {
    absl::StrAppend(&names, names.empty() ? "" : "+", term.name);
    if (names.size() > kMaxSelectionBytes) break;
  }
  return ShortenForTrailers(names, kMaxSelectionBytes);
}

// Of the API: clients read it in the log beside what they were sent.
std::string_view FinishLabel(FinishReason reason) {
  return reason == FinishReason::kStop ? "FINISH_REASON_STOP" : "FINISH_REASON_LENGTH";
}

double Milliseconds(absl::Duration duration) {
  return static_cast<double>(absl::ToInt64Microseconds(duration)) / 1000.0;
}

}  // namespace

absl::Status GenerationCall::Start(const ServiceContext& service,
                                   std::shared_ptr<CallRecord> record, SteadyTime deadline,
                                   GenerateRequest request, AnswerSink& sink) {
  record_ = std::move(record);
  // One that cannot be in a log line is refused with the rest of the request.
  if (IsRequestId(request.request_id)) record_->request_id = request.request_id;
  wanted_adapter_ = SelectionLabel(request);
  SHIRA_ASSIGN_OR_RETURN(const Backend* backend, service.gate.Enter());
  GenerationCaller caller{.id = record_->request_id,
                          .client = record_->client(),
                          .may_raise_priority = record_->roles.may_raise_priority(),
                          .deadline = deadline,
                          .cancellation = token_};
  SHIRA_ASSIGN_OR_RETURN(entry_, AdmitGeneration(service, *backend, caller, request));
  return StartGeneration(service, *backend, std::move(caller), std::move(request), entry_, sink);
}

void GenerationCall::RecordSummary(const AnswerSummary& summary) const {
  record_->details.insert(record_->details.end(),
                          {{"adapter", IdentityLabel(summary)},
                           {"prompt_tokens", static_cast<int64_t>(summary.prompt.size())},
                           {"cached_prompt_tokens", summary.cached_prompt_tokens},
                           {"completion_tokens", summary.completion_tokens()},
                           {"drafted_tokens", summary.drafts.drafted},
                           {"accepted_tokens", summary.drafts.accepted},
                           {"finish", std::string(FinishLabel(summary.ends.front().reason))},
                           {"queue_ms", Milliseconds(summary.timings.queue)},
                           {"switch_ms", Milliseconds(summary.timings.switching)},
                           {"prefill_ms", Milliseconds(summary.timings.prefill)},
                           {"decode_ms", Milliseconds(summary.timings.decode)}});
}

void GenerationCall::RecordError(const absl::Status& status) const {
  if (record_ == nullptr) return;  // it ended before it started
  if (entry_ != nullptr) entry_->Abandon();
  if (!wanted_adapter_.empty()) record_->details.push_back({"adapter", wanted_adapter_});
  spdlog::debug("generate {}: {}", record_->request_id,
                ForLog(ToStd(status.message()), kMaxMessageBytes));
}

}  // namespace shira
