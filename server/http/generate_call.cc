#include "server/http/generate_call.h"

#include <algorithm>
#include <utility>
#include <variant>

#include "absl/time/clock.h"
#include "base/out_of_memory.h"
#include "base/status_macros.h"
#include "base/steady_clock.h"
#include "server/generation/text_requests.h"
#include "server/http/error_response.h"

namespace shira {
namespace {

// What is repeated before an answer. Empty for ids that are not known, which are refused.
std::string EchoOf(const Backend& backend, const PromptInput& prompt, bool skip_special_tokens) {
  if (const auto* text = std::get_if<std::string>(&prompt)) return *text;
  const auto* ids = std::get_if<std::vector<int32_t>>(&prompt);
  if (ids == nullptr) return "";
  return Detokenize(backend, *ids, skip_special_tokens).value_or("");
}

// One summary of all generations of a call, for its record.
AnswerSummary Joined(const std::vector<AnswerSummary>& summaries) {
  AnswerSummary joined = summaries.front();
  for (size_t i = 1; i < summaries.size(); ++i) {
    const AnswerSummary& next = summaries[i];
    joined.ends.insert(joined.ends.end(), next.ends.begin(), next.ends.end());
    joined.prompt.insert(joined.prompt.end(), next.prompt.begin(), next.prompt.end());
    joined.cached_prompt_tokens += next.cached_prompt_tokens;
    joined.drafts += next.drafts;
    // They run at the same time.
    GenerationTimings& timings = joined.timings;
    timings.queue = std::max(timings.queue, next.timings.queue);
    timings.switching = std::max(timings.switching, next.timings.switching);
    timings.prefill = std::max(timings.prefill, next.timings.prefill);
    timings.decode = std::max(timings.decode, next.timings.decode);
  }
  return joined;
}

}  // namespace

class GenerateCall::Part final : public AnswerSink {
 public:
  Part(GenerateCall& whole, size_t number) : whole_(whole), number_(number) {}

  GenerationCall call;

 private:
  void OnChunk(AnswerChunk chunk) override { whole_.OnChunk(number_, std::move(chunk)); }
  void OnSummary(AnswerSummary summary) override { whole_.OnSummary(number_, std::move(summary)); }
  void OnError(absl::Status status) override { whole_.OnError(number_, std::move(status)); }

  GenerateCall& whole_;
  const size_t number_;
};

GenerateCall::GenerateCall(std::shared_ptr<HttpCall> call, const ServiceContext& service)
    : service_(service), call_(std::move(call)) {}

GenerateCall::~GenerateCall() = default;

std::shared_ptr<GenerateCall> GenerateCall::Observe(std::shared_ptr<HttpCall> call,
                                                    const ServiceContext& service) {
  std::shared_ptr<GenerateCall> generate(new GenerateCall(std::move(call), service));
  generate->call_->exchange().Observe(generate);
  return generate;
}

void GenerateCall::Start(const Backend& backend, HttpGeneration generation, bool is_chat) {
  {
    absl::MutexLock lock(&mutex_);
    head_ = {.is_chat = is_chat, .model = generation.model, .created = absl::Now()};
    stream_ = generation.stream;
    with_usage_ = generation.include_usage;
    choices_ = generation.request.choices;
    stop_tokens_ = generation.request.stop_tokens;
    for (size_t i = 0; i < generation.prompts.size(); ++i) {
      parts_.push_back(std::make_unique<Part>(*this, i));
      echoes_.push_back(generation.echo ? EchoOf(backend, generation.prompts[i],
                                                 generation.request.text.skip_special_tokens)
                                        : "");
    }
    written_bytes_.resize(parts_.size());
    summaries_.resize(parts_.size());
    self_ = shared_from_this();
    running_ = 1;  // until all are started
  }
  const absl::Status started = StartParts(std::move(generation));
  {
    absl::MutexLock lock(&mutex_);
    --running_;
    if (!started.ok()) Break(started);
  }
  Continue();
}

absl::Status GenerateCall::StartParts(HttpGeneration generation) {
  for (size_t i = 0; i < parts_.size(); ++i) {
    {
      absl::MutexLock lock(&mutex_);
      SHIRA_RETURN_IF_ERROR(status_);  // the client may be gone already
      ++running_;
      any_started_ = true;
    }
    const absl::Status started = CatchOutOfMemory([&] {
      GenerateRequest request = generation.request;
      request.input = std::move(generation.prompts[i]);
      return parts_[i]->call.Start(service_, call_->record(), SteadyTime::InfiniteFuture(),
                                   std::move(request), *parts_[i]);
    });
    // The record has the id now, and may be read by others.
    generation.request.request_id.clear();
    if (started.ok()) continue;
    absl::MutexLock lock(&mutex_);
    --running_;
    return started;
  }
  return absl::OkStatus();
}

int32_t GenerateCall::ChoiceOf(size_t part, int32_t choice) const {
  return static_cast<int32_t>(part) * choices_ + choice;
}

void GenerateCall::OnChunk(size_t part, AnswerChunk chunk) {
  {
    absl::MutexLock lock(&mutex_);
    chunk.choice = ChoiceOf(part, chunk.choice);
    const auto choice = static_cast<size_t>(chunk.choice);
    if (stream_) {
      const int64_t bytes = chunk.memory_bytes();
      const absl::Status counted = parts_[part]->call.AddUnread(bytes);
      AddPending(part, std::move(chunk), bytes);
      if (!counted.ok()) Break(counted);
    } else {
      if (choice >= answers_.size()) answers_.resize(choice + 1);
      answers_[choice].Append(std::move(chunk));
    }
  }
  Continue();
}

void GenerateCall::OnSummary(size_t part, AnswerSummary summary) {
  {
    absl::MutexLock lock(&mutex_);
    // Of several answers each has said itself that it has ended.
    if (stream_ && choices_ == 1) {
      AddPending(part, {.choice = ChoiceOf(part, 0), .finish_reason = summary.ends.front().reason},
                 0);
    }
    summaries_[part] = std::move(summary);
    --running_;
  }
  Continue();
}

void GenerateCall::OnError(size_t /*part*/, absl::Status status) {
  {
    absl::MutexLock lock(&mutex_);
    Break(std::move(status));
    --running_;
  }
  Continue();
}

void GenerateCall::OnReady() {
  // What was written is with the kernel.
  for (size_t i = 0; i < written_bytes_.size(); ++i) {
    const int64_t bytes = std::exchange(written_bytes_[i], 0);
    if (bytes > 0) parts_[i]->call.AddUnread(-bytes).IgnoreError();
  }
  std::deque<Pending> chunks;
  std::vector<AnswerSummary> summaries;
  std::vector<AnswerChunk> answers;
  absl::Status status;
  {
    absl::MutexLock lock(&mutex_);
    if (gone_ || ended_) return;
    if (!HasSomethingToWrite()) {
      busy_ = false;
      return;
    }
    if (!status_.ok()) DropPending();
    chunks.swap(pending_);
    if (chunks.empty()) {
      ended_ = true;
      status = status_;
      summaries.swap(summaries_);
      answers.swap(answers_);
    }
  }
  if (!chunks.empty()) return WriteChunks(std::move(chunks));
  Record(status, summaries);
  if (!status.ok()) {
    WriteError(status);
  } else if (stream_) {
    call_->exchange().End(writer_->Last(summaries));
  } else {
    WriteWhole(std::move(answers), summaries);
  }
}

void GenerateCall::OnDone(bool delivered) {
  if (delivered) return;
  {
    absl::MutexLock lock(&mutex_);
    gone_ = true;
    Break(absl::CancelledError("the client is gone"));
  }
  Continue();
}

void GenerateCall::Break(absl::Status why) {
  for (const std::unique_ptr<Part>& part : parts_) part->call.Cancel(why);
  if (status_.ok()) status_ = std::move(why);
}

void GenerateCall::AddPending(size_t part, AnswerChunk chunk, int64_t bytes) {
  const auto same = std::find_if(pending_.begin(), pending_.end(), [&](const Pending& pending) {
    return pending.chunk.choice == chunk.choice;
  });
  if (same == pending_.end()) {
    pending_.push_back({std::move(chunk), part, bytes});
  } else {
    same->chunk.Append(std::move(chunk));
    same->bytes += bytes;
  }
}

void GenerateCall::DropPending() {
  for (const Pending& pending : pending_) {
    parts_[pending.part]->call.AddUnread(-pending.bytes).IgnoreError();
  }
  pending_.clear();
}

bool GenerateCall::HasSomethingToWrite() const {
  return running_ == 0 || (status_.ok() && !pending_.empty());
}

void GenerateCall::Continue() {
  // Let go of behind the lock.
  std::shared_ptr<GenerateCall> self;
  bool wakes = false;
  absl::Status ends;
  {
    absl::MutexLock lock(&mutex_);
    if (running_ == 0) self = std::move(self_);
    if (gone_) {
      DropPending();
      // Before Start() there is nothing to end.
      if (!parts_.empty() && running_ == 0 && !std::exchange(ended_, true)) ends = status_;
    } else if (!busy_ && !ended_ && HasSomethingToWrite()) {
      busy_ = true;
      wakes = true;
    }
  }
  if (!ends.ok()) Record(ends, {});
  if (wakes) call_->exchange().Wake();
}

void GenerateCall::WriteWhole(std::vector<AnswerChunk> answers,
                              const std::vector<AnswerSummary>& summaries) {
  // One that has no text at all had no chunk.
  answers.resize(parts_.size() * static_cast<size_t>(choices_));
  std::vector<ChoiceOutcome> outcomes;
  for (size_t part = 0; part < summaries.size(); ++part) {
    for (const AnswerEnd& end : summaries[part].ends) {
      outcomes.push_back({.end = end, .echo = echoes_[part], .wanted_stop_tokens = stop_tokens_});
    }
  }
  HttpResponse response{.body = JsonText(WholeAnswer(Head(), answers, outcomes, summaries))};
  // What it takes counts when the client asks for more.
  parts_.front()->call.SetAnswer(static_cast<int64_t>(response.body.size()));
  call_->exchange().Respond(call_->WithHeaders(std::move(response)));
}

void GenerateCall::WriteChunks(std::deque<Pending> chunks) {
  if (!writer_.has_value()) {
    std::vector<std::string> echoes;
    for (const std::string& echo : echoes_) echoes.insert(echoes.end(), choices_, echo);
    writer_.emplace(Head(), with_usage_, std::move(echoes));
  }
  std::string text;
  for (const Pending& pending : chunks) {
    text += writer_->Events(pending.chunk);
    written_bytes_[pending.part] += pending.bytes;
  }
  if (std::exchange(begun_, true)) return call_->exchange().Write(std::move(text));
  call_->exchange().Begin(call_->WithHeaders({.content_type = "text/event-stream; charset=utf-8",
                                              .headers = {{"Cache-Control", "no-cache"}},
                                              .body = std::move(text)}));
}

void GenerateCall::WriteError(const absl::Status& status) {
  if (!begun_) return call_->exchange().Respond(call_->WithHeaders(ErrorResponse(status)));
  call_->exchange().End(EventOf(ErrorObject(status, HttpStatusOf(status.code()))));
}

void GenerateCall::Record(const absl::Status& status, const std::vector<AnswerSummary>& summaries) {
  const GenerationCall& call = parts_.front()->call;
  if (status.ok()) {
    call.RecordSummary(Joined(summaries));
  } else if (any_started_) {
    call.RecordError(status);
  }
  call_->End(status);
}

AnswerHead GenerateCall::Head() const {
  AnswerHead head = head_;
  head.request_id = call_->record()->request_id;
  return head;
}

}  // namespace shira
