#include "server/engine/engine.h"

#include <algorithm>
#include <atomic>
#include <iterator>
#include <mutex>
#include <thread>
#include <utility>
#include <variant>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "base/status_macros.h"
#include "base/strings.h"
#include "server/engine/control_queue.h"
#include "server/engine/request_queue.h"
#include "server/engine/scheduler_policy.h"
#include "server/engine/sequence.h"

namespace shira {
namespace {

SchedulerLimits LimitsOf(const Engine::Options& options) {
  return {.max_running = std::max<int64_t>(options.max_running, 1),
          .prefill_chunk = std::max<int64_t>(options.prefill_chunk, 1),
          .max_state_wait = options.max_state_wait};
}

}  // namespace

class Engine::Impl {
 public:
  Impl(Options options, ModelExecutor& executor, SwitchEngine& switch_engine)
      : limits_(LimitsOf(options)),
        executor_(executor),
        switch_engine_(switch_engine),
        controls_(mutex_),
        queue_(std::max<int64_t>(options.max_queued, 1)),
        thread_([this] { Loop(); }) {}

  // Any thread.
  absl::StatusOr<std::shared_ptr<CancellationToken>> Submit(GenerationRequest request)
      ABSL_LOCKS_EXCLUDED(mutex_);
  absl::StatusOr<SwitchStats> Apply(const StateHandle& state, absl::Time deadline)
      ABSL_LOCKS_EXCLUDED(mutex_);
  absl::StatusOr<VerifyReport> Verify(absl::Time deadline) ABSL_LOCKS_EXCLUDED(mutex_);
  void CancelUsersOf(const Sha256Digest& adapter) ABSL_LOCKS_EXCLUDED(mutex_);
  void Drain(absl::Duration timeout) ABSL_LOCKS_EXCLUDED(mutex_);
  EngineStats stats() const ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  using SequencePtr = std::unique_ptr<Sequence>;
  using Outcome = std::variant<GenerationResult, absl::Status>;

  // Everything below runs on the engine's thread.
  void Loop() ABSL_LOCKS_EXCLUDED(mutex_);
  // Returns when there is something to do; false when it is to stop.
  bool WaitForWork() ABSL_LOCKS_EXCLUDED(mutex_);
  void EndInterrupted() ABSL_LOCKS_EXCLUDED(mutex_);
  void Admit() ABSL_LOCKS_EXCLUDED(mutex_);
  void Step() ABSL_LOCKS_EXCLUDED(mutex_);
  void EndAll(const absl::Status& status) ABSL_LOCKS_EXCLUDED(mutex_);

  SwitchStats SwitchTo(std::shared_ptr<const CompiledState> state) ABSL_LOCKS_EXCLUDED(mutex_);
  // Logits of `rows`, checked: [rows that want them][vocab_size].
  absl::StatusOr<absl::Span<const float>> Forward(absl::Span<const BatchRow> rows);
  // Books the outcome and tells the observer. `sequence` is in neither list any more.
  void End(SequencePtr sequence, Outcome outcome) ABSL_LOCKS_EXCLUDED(mutex_);
  void EndRunning(Sequence* sequence, Outcome outcome) ABSL_LOCKS_EXCLUDED(mutex_);
  Sequence* FindRunning(SequenceId id) const;
  std::vector<SequenceView> RunningViews(absl::Time now) const;

  // Constant after construction.
  const SchedulerLimits limits_;
  ModelExecutor& executor_;  // the const methods also on other threads
  SwitchEngine& switch_engine_;

  std::atomic<SequenceId> next_id_{0};

  mutable absl::Mutex mutex_;
  ControlQueue controls_;  // shares mutex_
  RequestQueue queue_ ABSL_GUARDED_BY(mutex_);
  int64_t in_flight_ ABSL_GUARDED_BY(mutex_) = 0;  // submitted and not ended
  bool draining_ ABSL_GUARDED_BY(mutex_) = false;
  bool stop_ ABSL_GUARDED_BY(mutex_) = false;
  EngineStats stats_ ABSL_GUARDED_BY(mutex_);  // the sums; stats() adds the rest

  // The engine's thread alone.
  std::vector<SequencePtr> running_;  // in the order of admission

  std::once_flag join_once_;
  std::thread thread_;  // last: it uses the members above
};

// ---- Any thread ---------------------------------------------------------------------------------

absl::StatusOr<std::shared_ptr<CancellationToken>> Engine::Impl::Submit(GenerationRequest request) {
  SHIRA_RETURN_IF_ERROR(
      Sequence::Check(request, executor_.vocab_size(), executor_.context_length()));
  auto sequence = std::make_unique<Sequence>(next_id_++, std::move(request), executor_.vocab_size(),
                                             executor_.context_length(), absl::Now());
  const std::shared_ptr<CancellationToken> cancellation = sequence->cancellation();
  absl::MutexLock lock(&mutex_);
  if (draining_) return absl::UnavailableError("the server is shutting down: try another one");
  SHIRA_RETURN_IF_ERROR(queue_.Push(std::move(sequence)));
  ++in_flight_;
  return cancellation;
}

absl::StatusOr<SwitchStats> Engine::Impl::Apply(const StateHandle& state, absl::Time deadline) {
  if (!state) return absl::InvalidArgumentError("there is no state to apply");
  SwitchStats result;
  SHIRA_RETURN_IF_ERROR(controls_.Run([&] { result = SwitchTo(state.state()); }, deadline));
  return result;
}

absl::StatusOr<VerifyReport> Engine::Impl::Verify(absl::Time deadline) {
  VerifyReport report;
  SHIRA_RETURN_IF_ERROR(controls_.Run([&] { report = switch_engine_.Verify(); }, deadline));
  return report;
}

void Engine::Impl::CancelUsersOf(const Sha256Digest& adapter) {
  controls_.Post([this, adapter] {
    const auto cancel = [&](const Sequence& sequence) {
      if (sequence.Uses(adapter)) sequence.cancellation()->Cancel();
    };
    for (const SequencePtr& sequence : running_) cancel(*sequence);
    absl::MutexLock lock(&mutex_);
    queue_.ForEach(cancel);
  });
}

void Engine::Impl::Drain(absl::Duration timeout) {
  {
    absl::MutexLock lock(&mutex_);
    draining_ = true;
    const auto over = [this] {
      mutex_.AssertHeld();
      return stop_ || in_flight_ == 0;
    };
    mutex_.AwaitWithTimeout(absl::Condition(&over), timeout);
    stop_ = true;
  }
  // Whoever comes second waits here for the first.
  std::call_once(join_once_, [this] { thread_.join(); });
}

EngineStats Engine::Impl::stats() const {
  EngineStats stats;
  {
    absl::MutexLock lock(&mutex_);
    stats = stats_;
    stats.queued = queue_.size();
    stats.running = in_flight_ - queue_.size();
  }
  stats.kv_used_bytes = executor_.kv_used_bytes();
  stats.kv_budget_bytes = executor_.kv_budget_bytes();
  return stats;
}

// ---- The engine's thread ------------------------------------------------------------------------

void Engine::Impl::Loop() {
  while (WaitForWork()) {
    controls_.RunAll();
    EndInterrupted();
    Admit();
    Step();
  }
  controls_.Close();
  EndAll(absl::UnavailableError("the server is shutting down: try another one"));
}

bool Engine::Impl::WaitForWork() {
  const bool idle = running_.empty();
  absl::MutexLock lock(&mutex_);
  // Whatever is queued is work: with nothing running it is admitted or fails. So no deadline can
  // pass while the thread sleeps.
  const auto has_work = [&] {
    mutex_.AssertHeld();
    controls_.AssertMutexHeld();
    return stop_ || !idle || !queue_.empty() || !controls_.empty();
  };
  mutex_.Await(absl::Condition(&has_work));
  return !stop_;
}

void Engine::Impl::EndInterrupted() {
  const absl::Time now = absl::Now();
  std::vector<SequencePtr> interrupted;
  {
    absl::MutexLock lock(&mutex_);
    interrupted =
        queue_.TakeIf([&](const Sequence& sequence) { return !sequence.Interruption(now).ok(); });
  }
  const auto first = std::stable_partition(
      running_.begin(), running_.end(),
      [&](const SequencePtr& sequence) { return sequence->Interruption(now).ok(); });
  std::move(first, running_.end(), std::back_inserter(interrupted));
  running_.erase(first, running_.end());
  for (SequencePtr& sequence : interrupted) {
    absl::Status status = sequence->Interruption(now);
    End(std::move(sequence), std::move(status));
  }
}

void Engine::Impl::Admit() {
  const absl::Time now = absl::Now();
  SchedulerSnapshot snapshot;
  snapshot.running = RunningViews(now);
  {
    absl::MutexLock lock(&mutex_);
    snapshot.queued = queue_.Views(now);
  }
  for (const SequenceId id : PlanAdmissions(snapshot, limits_)) {
    SequencePtr sequence;
    Sequence* queued = nullptr;
    {
      absl::MutexLock lock(&mutex_);
      queued = queue_.Find(id);
    }
    // Only this thread takes sequences out of the queue, so it is still there.
    absl::StatusOr<std::unique_ptr<SequenceCache>> cache =
        executor_.NewSequence(queued->kv_tokens());
    if (absl::IsResourceExhausted(cache.status()) && !running_.empty()) return;
    {
      absl::MutexLock lock(&mutex_);
      sequence = queue_.Take(id);
    }
    if (!cache.ok()) {
      End(std::move(sequence), cache.status());
      continue;
    }
    sequence->Admit(*std::move(cache), absl::Now());
    running_.push_back(std::move(sequence));
  }
}

void Engine::Impl::Step() {
  if (running_.empty()) return;
  Sequence::StepTimes times;
  times.start = absl::Now();
  const StepPlan plan = PlanStep({.resident = switch_engine_.resident()->key.digest(),
                                  .running = RunningViews(times.start),
                                  .queued = {}},
                                 limits_);
  std::vector<Sequence*> sequences;
  std::vector<BatchRow> rows;
  for (const StepRow& row : plan.rows) {
    sequences.push_back(FindRunning(row.sequence));
    rows.push_back(sequences.back()->NextRow(row.tokens));
  }
  if (plan.switch_to.has_value()) {
    const auto wants_it =
        std::find_if(sequences.begin(), sequences.end(), [&](const Sequence* sequence) {
          return sequence->state().state()->key.digest() == *plan.switch_to;
        });
    times.switching = SwitchTo((*wants_it)->state().state()).duration;
  }
  const absl::StatusOr<absl::Span<const float>> logits = Forward(rows);
  times.end = absl::Now();
  if (!logits.ok()) {
    for (Sequence* sequence : sequences) EndRunning(sequence, logits.status());
    return;
  }
  size_t offset = 0;
  for (size_t i = 0; i < sequences.size(); ++i) {
    const size_t length = rows[i].wants_logits ? executor_.vocab_size() : 0;
    const Sequence::StepOutcome outcome =
        sequences[i]->FinishStep(plan.rows[i].tokens, logits->subspan(offset, length), times);
    offset += length;
    {
      absl::MutexLock lock(&mutex_);
      stats_.prompt_tokens += outcome.prompt_tokens;
      stats_.generated_tokens += outcome.token_emitted ? 1 : 0;
    }
    if (outcome.result.has_value()) EndRunning(sequences[i], *outcome.result);
  }
}

absl::StatusOr<absl::Span<const float>> Engine::Impl::Forward(absl::Span<const BatchRow> rows) {
  SHIRA_ASSIGN_OR_RETURN(const absl::Span<const float> logits,
                         executor_.Forward(*switch_engine_.resident(), rows));
  const int64_t wanted =
      std::count_if(rows.begin(), rows.end(), [](const BatchRow& row) { return row.wants_logits; });
  if (static_cast<int64_t>(logits.size()) != wanted * executor_.vocab_size()) {
    return absl::InternalError(StrCat("the model gave ", logits.size(), " logits for ", wanted,
                                      " rows of ", executor_.vocab_size()));
  }
  return logits;
}

SwitchStats Engine::Impl::SwitchTo(std::shared_ptr<const CompiledState> state) {
  const bool resident = switch_engine_.resident()->key == state->key;
  const SwitchStats switched = switch_engine_.Apply(std::move(state));
  absl::MutexLock lock(&mutex_);
  stats_.switches += resident ? 0 : 1;
  stats_.switch_time += switched.duration;
  return switched;
}

void Engine::Impl::End(SequencePtr sequence, Outcome outcome) {
  {
    absl::MutexLock lock(&mutex_);
    --in_flight_;
    ++(std::holds_alternative<GenerationResult>(outcome) ? stats_.finished : stats_.failed);
  }
  sequence->End(std::move(outcome));
}

void Engine::Impl::EndRunning(Sequence* sequence, Outcome outcome) {
  const auto it = std::find_if(running_.begin(), running_.end(),
                               [&](const SequencePtr& other) { return other.get() == sequence; });
  SequencePtr ended = std::move(*it);
  running_.erase(it);
  End(std::move(ended), std::move(outcome));
}

void Engine::Impl::EndAll(const absl::Status& status) {
  std::vector<SequencePtr> sequences = std::exchange(running_, {});
  {
    absl::MutexLock lock(&mutex_);
    std::vector<SequencePtr> queued = queue_.TakeIf([](const Sequence&) { return true; });
    std::move(queued.begin(), queued.end(), std::back_inserter(sequences));
  }
  for (SequencePtr& sequence : sequences) End(std::move(sequence), status);
}

Sequence* Engine::Impl::FindRunning(SequenceId id) const {
  const auto it = std::find_if(running_.begin(), running_.end(),
                               [&](const SequencePtr& sequence) { return sequence->id() == id; });
  return it == running_.end() ? nullptr : it->get();
}

std::vector<SequenceView> Engine::Impl::RunningViews(absl::Time now) const {
  std::vector<SequenceView> views;
  views.reserve(running_.size());
  for (const SequencePtr& sequence : running_) views.push_back(sequence->View(now));
  return views;
}

// ---- The public face ----------------------------------------------------------------------------

Engine::Engine(Options options, ModelExecutor& executor, SwitchEngine& switch_engine)
    : impl_(std::make_unique<Impl>(options, executor, switch_engine)) {}

Engine::~Engine() { Drain(absl::ZeroDuration()); }

absl::StatusOr<std::shared_ptr<CancellationToken>> Engine::Submit(GenerationRequest request) {
  return impl_->Submit(std::move(request));
}

absl::StatusOr<SwitchStats> Engine::Apply(const StateHandle& state, absl::Time deadline) {
  return impl_->Apply(state, deadline);
}

absl::StatusOr<VerifyReport> Engine::Verify(absl::Time deadline) { return impl_->Verify(deadline); }

void Engine::CancelUsersOf(const Sha256Digest& adapter) { impl_->CancelUsersOf(adapter); }

void Engine::Drain(absl::Duration timeout) { impl_->Drain(timeout); }

EngineStats Engine::stats() const { return impl_->stats(); }

}  // namespace shira
