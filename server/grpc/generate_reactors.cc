#include "server/grpc/generate_reactors.h"

#include <algorithm>
#include <utility>

#include "server/grpc/call_deadline.h"
#include "server/grpc/proto_conversion.h"
#include "server/grpc/request_conversion.h"
#include "server/grpc/status_conversion.h"

namespace shira {
void UnaryGenerateReactor::Start(const ServiceContext& service,
                                 const grpc::CallbackServerContext& context,
                                 const v1::GenerateRequest& request) {
  const absl::Status status = call_.Start(service, service.records.Of(&context),
                                          DeadlineOf(context), FromProto(request), *this);
  if (!status.ok()) OnError(status);
}

void UnaryGenerateReactor::OnChunk(AnswerChunk chunk) {
  const size_t number = chunk.choice;
  if (number >= answers_.size()) answers_.resize(number + 1);
  answers_[number].Append(std::move(chunk));
}

void UnaryGenerateReactor::OnSummary(AnswerSummary summary) {
  call_.RecordSummary(summary);
  response_ = ToProto(std::move(answers_), std::move(summary));
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
  const absl::Status status = call_.Start(service, service.records.Of(&context),
                                          DeadlineOf(context), FromProto(request), *this);
  if (!status.ok()) OnError(status);
}

void StreamGenerateReactor::OnChunk(AnswerChunk chunk) {
  Step step = Step::kNothing;
  {
    absl::MutexLock lock(&mutex_);
    const auto bytes = chunk.memory_bytes();
    const absl::Status counted = call_.AddUnread(bytes);
    const auto same = std::find_if(pending_.begin(), pending_.end(), [&](const Pending& pending) {
      return pending.chunk.choice == chunk.choice;
    });
    if (same == pending_.end()) {
      pending_.push_back({std::move(chunk), bytes});
    } else {
      same->chunk.Append(std::move(chunk));
      same->bytes += bytes;
    }
    if (!counted.ok()) Break(counted);
    step = NextStep();
  }
  Take(step);
}

void StreamGenerateReactor::OnSummary(AnswerSummary summary) {
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
    *outgoing_.mutable_chunk() = ToProto(std::move(pending_.front().chunk));
    written_bytes_ = pending_.front().bytes;
    pending_.pop_front();
  } else if (summary_.has_value()) {
    *outgoing_.mutable_summary() = ToProto(*std::move(summary_));
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
