#include "server/service/generate_reactors.h"

#include <google/protobuf/util/time_util.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status_macros.h"
#include "base/strings.h"
#include "server/service/call_deadline.h"
#include "server/service/error_details.h"
#include "server/service/log_text.h"
#include "server/service/start_generation.h"
#include "server/service/status_conversion.h"

namespace shira {
namespace {

using google::protobuf::util::TimeUtil;

constexpr size_t kMaxMessageBytes = 1000;  // in the log
constexpr size_t kMaxSelectionBytes = 200;

std::string IdentityLabel(const v1::GenerateSummary& summary) {
  if (summary.adapter().empty()) return "base";
  return absl::StrJoin(summary.adapter(), "+",
                       [](std::string* out, const v1::AdapterIdentity& adapter) {
                         absl::StrAppend(out, adapter.name(), "@", adapter.version());
                         if (adapter.weight() != 1.0) absl::StrAppend(out, "*", adapter.weight());
                       });
}

// As the client wrote it: whatever bytes that are. Empty: the default.
std::string SelectionLabel(const v1::GenerateRequest& request) {
  std::string names;
  for (const v1::WeightedAdapter& adapter : request.adapter().adapters()) {
    absl::StrAppend(&names, names.empty() ? "" : "+", adapter.name());
    if (names.size() > kMaxSelectionBytes) break;
  }
  return ShortenForTrailers(names, kMaxSelectionBytes);
}

}  // namespace

absl::Status GenerateCall::Start(const ServiceContext& service,
                                 const grpc::CallbackServerContext& context,
                                 const v1::GenerateRequest& request, AnswerSink& sink) {
  record_ = service.records.Of(context);
  // One that cannot be in a log line is refused with the rest of the request.
  if (IsRequestId(request.request_id())) record_->request_id = request.request_id();
  wanted_adapter_ = SelectionLabel(request);
  SHIRA_ASSIGN_OR_RETURN(const Backend* backend, service.gate.Enter());
  GenerationCaller caller{.id = record_->request_id,
                          .client = record_->client(),
                          .may_raise_priority = record_->roles.may_raise_priority(),
                          .deadline = DeadlineOf(context),
                          .cancellation = token_};
  SHIRA_ASSIGN_OR_RETURN(AdmittedGeneration admitted,
                         AdmitGeneration(service, *backend, request, caller));
  entry_ = admitted.entry;
  return StartGeneration(service, *backend, request, std::move(caller), std::move(admitted), sink);
}

void GenerateCall::RecordSummary(const v1::GenerateSummary& summary) const {
  const v1::Timings& timings = summary.timings();
  const auto ms = [](const google::protobuf::Duration& duration) {
    return static_cast<double>(TimeUtil::DurationToMicroseconds(duration)) / 1000.0;
  };
  record_->details.insert(
      record_->details.end(),
      {{"adapter", IdentityLabel(summary)},
       {"prompt_tokens", int64_t{summary.usage().prompt_tokens()}},
       {"cached_prompt_tokens", int64_t{summary.usage().cached_prompt_tokens()}},
       {"completion_tokens", int64_t{summary.usage().completion_tokens()}},
       {"finish", v1::FinishReason_Name(summary.finish_reason())},
       {"queue_ms", ms(timings.queue())},
       {"switch_ms", ms(timings.switch_())},
       {"prefill_ms", ms(timings.prefill())},
       {"decode_ms", ms(timings.decode())}});
}

void GenerateCall::RecordError(const absl::Status& status) const {
  if (entry_ != nullptr) entry_->Abandon();
  if (!wanted_adapter_.empty()) record_->details.push_back({"adapter", wanted_adapter_});
  spdlog::debug("generate {}: {}", record_->request_id,
                ForLog(ToStd(status.message()), kMaxMessageBytes));
}

void UnaryGenerateReactor::Start(const ServiceContext& service,
                                 const grpc::CallbackServerContext& context,
                                 const v1::GenerateRequest& request) {
  const absl::Status status = call_.Start(service, context, request, *this);
  if (!status.ok()) OnError(status);
}

void UnaryGenerateReactor::OnChunk(AnswerChunk chunk) {
  const size_t index = chunk.choice();
  if (index >= choices_.size()) choices_.resize(index + 1);
  AppendChunk(std::move(chunk), choices_[index]);
}

void UnaryGenerateReactor::OnSummary(v1::GenerateSummary summary) {
  call_.RecordSummary(summary);
  if (!choices_.empty()) {
    const v1::Choice& first = choices_.front();
    response_.set_text(first.text());
    *response_.mutable_token_ids() = first.token_ids();
    *response_.mutable_logprobs() = first.logprobs();
  }
  for (const v1::ChoiceEnd& end : summary.choices()) {
    *choices_[end.index()].mutable_end() = end;
    response_.mutable_choices()->Add(std::move(choices_[end.index()]));
  }
  *response_.mutable_summary() = std::move(summary);
  // It is made already; what it takes counts when the client asks for more.
  call_.SetAnswer(static_cast<int64_t>(response_.SpaceUsedLong()));
  Finish(grpc::Status::OK);
}

void UnaryGenerateReactor::OnError(absl::Status status) {
  call_.RecordError(status);
  Finish(ToGrpcStatus(status));
}

void StreamGenerateReactor::Start(const ServiceContext& service,
                                  const grpc::CallbackServerContext& context,
                                  const v1::GenerateRequest& request) {
  const absl::Status status = call_.Start(service, context, request, *this);
  if (!status.ok()) OnError(status);
}

void StreamGenerateReactor::OnChunk(AnswerChunk chunk) {
  Step step = Step::kNothing;
  {
    absl::MutexLock lock(&mutex_);
    const auto bytes = static_cast<int64_t>(chunk.SpaceUsedLong());
    const absl::Status counted = call_.AddUnread(bytes);
    const auto same =
        std::find_if(pending_.begin(), pending_.end(), [&](const Pending& pending) {
          return pending.chunk.choice() == chunk.choice();
        });
    if (same == pending_.end()) {
      pending_.push_back({std::move(chunk), bytes});
    } else {
      same->chunk.set_finish_reason(chunk.finish_reason());
      AppendChunk(std::move(chunk), same->chunk);
      same->bytes += bytes;
    }
    if (!counted.ok()) Break(counted);
    step = NextStep();
  }
  Take(step);
}

void StreamGenerateReactor::OnSummary(v1::GenerateSummary summary) {
  call_.RecordSummary(summary);
  Step step = Step::kNothing;
  {
    absl::MutexLock lock(&mutex_);
    summary_ = std::move(summary);
    ended_ = true;
    step = NextStep();
  }
  Take(step);
}

void StreamGenerateReactor::OnError(absl::Status status) {
  call_.RecordError(status);
  Step step = Step::kNothing;
  {
    absl::MutexLock lock(&mutex_);
    end_status_ = std::move(status);
    ended_ = true;
    step = NextStep();
  }
  Take(step);
}

void StreamGenerateReactor::OnWriteDone(bool ok) {
  Step step = Step::kNothing;
  {
    absl::MutexLock lock(&mutex_);
    writing_ = false;
    call_.AddUnread(-std::exchange(written_bytes_, 0)).IgnoreError();
    if (!ok) Break(absl::CancelledError("the client is gone"));
    step = NextStep();
  }
  Take(step);
}

void StreamGenerateReactor::Break(absl::Status why) {
  call_.Cancel(std::move(why));
  broken_ = true;
}

StreamGenerateReactor::Step StreamGenerateReactor::NextStep() {
  if (broken_) {
    for (const Pending& pending : pending_) call_.AddUnread(-pending.bytes).IgnoreError();
    pending_.clear();
    summary_.reset();
  }
  if (writing_) return Step::kNothing;
  if (!pending_.empty()) {
    *outgoing_.mutable_chunk() = std::move(pending_.front().chunk);
    written_bytes_ = pending_.front().bytes;
    pending_.pop_front();
  } else if (summary_.has_value()) {
    *outgoing_.mutable_summary() = *std::move(summary_);
    summary_.reset();
  } else {
    // Here only once with `ended_`: no event and no write comes after it.
    return ended_ ? Step::kFinish : Step::kNothing;
  }
  writing_ = true;
  return Step::kWrite;
}

void StreamGenerateReactor::Take(Step step) {
  switch (step) {
    case Step::kNothing:
      break;
    case Step::kWrite:
      StartWrite(&outgoing_);
      break;
    case Step::kFinish:
      Finish(ToGrpcStatus(end_status_));
      break;
  }
}

}  // namespace shira
