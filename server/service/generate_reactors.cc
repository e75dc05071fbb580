#include "server/service/generate_reactors.h"

#include <google/protobuf/util/time_util.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <random>
#include <utility>

#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "base/status_macros.h"
#include "base/strings.h"
#include "server/service/call_deadline.h"
#include "server/service/log_text.h"
#include "server/service/start_generation.h"
#include "server/service/status_conversion.h"

namespace shira {
namespace {

using google::protobuf::util::TimeUtil;

constexpr size_t kMaxMessageBytes = 1000;  // in the log

std::string NewRequestId() {
  std::random_device device;
  return absl::StrFormat("%08x%08x", device(), device());
}

std::string AdapterLabel(const v1::GenerateSummary& summary) {
  if (summary.adapter().empty()) return "base";
  return absl::StrJoin(summary.adapter(), "+",
                       [](std::string* out, const v1::AdapterIdentity& adapter) {
                         absl::StrAppend(out, adapter.name(), "@", adapter.version());
                         if (adapter.weight() != 1.0) absl::StrAppend(out, "*", adapter.weight());
                       });
}

}  // namespace

absl::Status GenerateCall::Start(const BackendGate& gate,
                                 const grpc::CallbackServerContext& context,
                                 const v1::GenerateRequest& request, AnswerSink& sink) {
  id_ = request.request_id().empty() ? NewRequestId() : request.request_id();
  SHIRA_ASSIGN_OR_RETURN(const Backend* backend, gate.Enter());
  SHIRA_ASSIGN_OR_RETURN(token_,
                         StartGeneration(*backend, request, id_, DeadlineOf(context), sink));
  return absl::OkStatus();
}

void GenerateCall::Cancel() {
  if (token_ != nullptr) token_->Cancel();
}

void GenerateCall::LogSummary(const v1::GenerateSummary& summary) const {
  const v1::Timings& timings = summary.timings();
  const auto ms = [](const google::protobuf::Duration& duration) {
    return static_cast<double>(TimeUtil::DurationToMicroseconds(duration)) / 1000.0;
  };
  spdlog::info(
      "generate {}: adapter {}, {} prompt ({} cached) + {} new tokens, {}, queue {:.1f} ms, switch "
      "{:.1f} ms, "
      "prefill {:.1f} ms, decode {:.1f} ms",
      id_, AdapterLabel(summary), summary.usage().prompt_tokens(),
      summary.usage().cached_prompt_tokens(), summary.usage().completion_tokens(),
      v1::FinishReason_Name(summary.finish_reason()), ms(timings.queue()), ms(timings.switch_()),
      ms(timings.prefill()), ms(timings.decode()));
}

void GenerateCall::LogError(const absl::Status& status) const {
  spdlog::info("generate {}: {}", ForLog(id_), absl::StatusCodeToString(status.code()));
  spdlog::debug("generate {}: {}", ForLog(id_), ForLog(ToStd(status.message()), kMaxMessageBytes));
}

void UnaryGenerateReactor::Start(const BackendGate& gate,
                                 const grpc::CallbackServerContext& context,
                                 const v1::GenerateRequest& request) {
  const absl::Status status = call_.Start(gate, context, request, *this);
  if (!status.ok()) OnError(status);
}

void UnaryGenerateReactor::OnChunk(AnswerChunk chunk) {
  const size_t index = chunk.choice();
  if (index >= choices_.size()) choices_.resize(index + 1);
  AppendChunk(std::move(chunk), choices_[index]);
}

void UnaryGenerateReactor::OnSummary(v1::GenerateSummary summary) {
  call_.LogSummary(summary);
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
  Finish(grpc::Status::OK);
}

void UnaryGenerateReactor::OnError(absl::Status status) {
  call_.LogError(status);
  Finish(ToGrpcStatus(status));
}

void StreamGenerateReactor::Start(const BackendGate& gate,
                                  const grpc::CallbackServerContext& context,
                                  const v1::GenerateRequest& request) {
  const absl::Status status = call_.Start(gate, context, request, *this);
  if (!status.ok()) OnError(status);
}

void StreamGenerateReactor::OnChunk(AnswerChunk chunk) {
  Step step = Step::kNothing;
  {
    absl::MutexLock lock(&mutex_);
    const auto same = std::find_if(
        pending_.begin(), pending_.end(),
        [&](const AnswerChunk& pending) { return pending.choice() == chunk.choice(); });
    if (same == pending_.end()) {
      pending_.push_back(std::move(chunk));
    } else {
      same->set_finish_reason(chunk.finish_reason());
      AppendChunk(std::move(chunk), *same);
    }
    step = NextStep();
  }
  Take(step);
}

void StreamGenerateReactor::OnSummary(v1::GenerateSummary summary) {
  call_.LogSummary(summary);
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
  call_.LogError(status);
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
  if (!ok) call_.Cancel();
  Step step = Step::kNothing;
  {
    absl::MutexLock lock(&mutex_);
    writing_ = false;
    broken_ = broken_ || !ok;
    step = NextStep();
  }
  Take(step);
}

StreamGenerateReactor::Step StreamGenerateReactor::NextStep() {
  if (writing_) return Step::kNothing;
  if (broken_) {
    pending_.clear();
    summary_.reset();
  }
  if (!pending_.empty()) {
    *outgoing_.mutable_chunk() = std::move(pending_.front());
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
