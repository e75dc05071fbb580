#include "server/engine/engine.h"

#include <algorithm>
#include <atomic>
#include <iterator>
#include <mutex>
#include <numeric>
#include <thread>
#include <utility>
#include <variant>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/synchronization/mutex.h"
#include "base/status_macros.h"
#include "base/steady_clock.h"
#include "base/steady_wait.h"
#include "base/strings.h"
#include "server/engine/admission_policy.h"
#include "server/engine/control_queue.h"
#include "server/engine/kv_memory.h"
#include "server/engine/request_queue.h"
#include "server/engine/sequence.h"
#include "server/engine/stats_book.h"
#include "server/engine/step_runner.h"

namespace shira {
namespace {

constexpr absl::Duration kLookAgain = absl::Milliseconds(20);
// Queued generations whose states are prepared while there is no room to admit any.
constexpr size_t kLookAhead = 8;

AdmissionLimits AdmissionLimitsOf(const Engine::Options& options) {
  return {.max_rows = std::max<int64_t>(options.max_running, 1),
          .max_bypassed = std::max<int64_t>(options.max_bypassed, 0)};
}

StepLimits StepLimitsOf(const Engine::Options& options) {
  StepLimits limits = options.step;
  limits.step_tokens = std::max<int64_t>(limits.step_tokens, 1);
  return limits;
}

}  // namespace

class Engine::Impl {
 public:
  Impl(Options options, ModelExecutor& executor, SwitchEngine& switch_engine)
      : admission_limits_(AdmissionLimitsOf(options)),
        executor_(executor),
        switch_engine_(switch_engine),
        memory_(executor, options.max_prefixes),
        speculates_(options.speculate),
        sequence_limits_(
            {.vocab_size = executor.vocab_size(),
             .max_sequence_tokens = memory_.max_sequence_tokens(),
             .max_choices = std::min(options.max_choices, admission_limits_.max_rows)}),
        controls_(mutex_),
        queue_(std::max<int64_t>(options.max_queued, 1)),
        preparation_(options.preparation, [this] { OnNews(); }),
        runner_(StepLimitsOf(options), options.costs, options.learn_costs, executor, switch_engine,
                memory_, stats_),
        thread_([this] { Loop(); }) {}

  // Any thread.
  absl::StatusOr<std::shared_ptr<CancellationToken>> Submit(GenerationRequest request)
      ABSL_LOCKS_EXCLUDED(mutex_);
  absl::Status CheckRoom() ABSL_LOCKS_EXCLUDED(mutex_);
  absl::Status CheckAnswers(absl::Span<const int32_t> prompt, int64_t max_tokens,
                            int32_t choices) const;
  absl::StatusOr<SwitchStats> Apply(const StateHandle& state, SteadyTime deadline)
      ABSL_LOCKS_EXCLUDED(mutex_);
  absl::StatusOr<VerifyReport> Verify(SteadyTime deadline) ABSL_LOCKS_EXCLUDED(mutex_);
  void CancelUsersOf(const Sha256Digest& adapter) ABSL_LOCKS_EXCLUDED(mutex_);
  void Leave(const Sha256Digest& adapter) ABSL_LOCKS_EXCLUDED(mutex_);
  void Drain(absl::Duration timeout) ABSL_LOCKS_EXCLUDED(mutex_);
  int64_t context_length() const { return memory_.max_sequence_tokens(); }
  EngineStats stats() const;

 private:
  using SequencePtr = std::unique_ptr<Sequence>;
  using Outcome = std::variant<GenerationResult, absl::Status>;

  void OnNews() ABSL_LOCKS_EXCLUDED(mutex_);
  absl::Status CheckRoomLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status CheckHolds(const KvMemory::Demand& demand) const;

  // Everything below runs on the engine's thread.
  void Loop() ABSL_LOCKS_EXCLUDED(mutex_);
  // Returns when there is something to do; false when it is to stop.
  bool WaitForWork() ABSL_LOCKS_EXCLUDED(mutex_);
  void EndInterrupted() ABSL_LOCKS_EXCLUDED(mutex_);
  void Admit() ABSL_LOCKS_EXCLUDED(mutex_);
  // When no generation can be admitted: prepares the states of those that come next.
  void PrepareNext(const AdmissionSnapshot& snapshot) ABSL_LOCKS_EXCLUDED(mutex_);
  // What the clients with queued or running generations have had. Valid until a sequence ends.
  ClientShares SharesOf(absl::Span<const SequenceView> queued, SteadyTime now);
  // Takes memory for a queued sequence and makes it a running one, or ends it.
  Room TryAdmit(SequenceId id) ABSL_LOCKS_EXCLUDED(mutex_);
  Sequence* FindQueued(SequenceId id) ABSL_LOCKS_EXCLUDED(mutex_);
  SequencePtr TakeQueued(SequenceId id) ABSL_LOCKS_EXCLUDED(mutex_);
  void Step() ABSL_LOCKS_EXCLUDED(mutex_);
  // What is in use now, for stats().
  void BookMemory();
  void EndAll(const absl::Status& status) ABSL_LOCKS_EXCLUDED(mutex_);

  // Books the outcome and tells the observer. `sequence` is in neither list any more.
  void End(SequencePtr sequence, Outcome outcome) ABSL_LOCKS_EXCLUDED(mutex_);
  void EndRunning(Sequence* sequence, Outcome outcome) ABSL_LOCKS_EXCLUDED(mutex_);
  int64_t RunningRows() const;

  // Constant after construction.
  const AdmissionLimits admission_limits_;
  ModelExecutor& executor_;  // the const methods also on other threads
  SwitchEngine& switch_engine_;
  KvMemory memory_;  // the const methods also on other threads
  const bool speculates_;
  const Sequence::Limits sequence_limits_;

  StatsBook stats_;
  std::atomic<SequenceId> next_id_{0};

  absl::Mutex mutex_;
  ControlQueue controls_;  // shares mutex_
  RequestQueue queue_ ABSL_GUARDED_BY(mutex_);
  int64_t in_flight_ ABSL_GUARDED_BY(mutex_) = 0;  // submitted and not ended
  bool draining_ ABSL_GUARDED_BY(mutex_) = false;
  bool stop_ ABSL_GUARDED_BY(mutex_) = false;
  bool news_ ABSL_GUARDED_BY(mutex_) = false;  // the queue: an arrival, or a ready state

  // The engine's thread alone.
  StatePreparation preparation_;
  bool queue_moved_ = false;          // since Admit() looked at it last
  std::vector<SequencePtr> running_;  // in the order of admission
  // When the clients that have something queued or running were served last.
  struct Turn {
    int64_t number = 0;
    SteadyTime time;
  };
  absl::flat_hash_map<std::string, Turn> turns_;
  int64_t next_turn_ = 0;
  StepRunner runner_;

  std::once_flag join_once_;
  std::thread thread_;  // last: it uses the members above
};

// ---- Any thread ---------------------------------------------------------------------------------

absl::Status Engine::Impl::CheckRoom() {
  absl::MutexLock lock(&mutex_);
  return CheckRoomLocked();
}

absl::Status Engine::Impl::CheckRoomLocked() {
  if (draining_) return absl::UnavailableError("the server is shutting down: try another one");
  absl::Status status = queue_.CheckRoom();
  if (!status.ok()) stats_.BookRejected();
  return status;
}

absl::Status Engine::Impl::CheckAnswers(absl::Span<const int32_t> prompt, int64_t max_tokens,
                                        int32_t choices) const {
  const int64_t prompt_tokens = static_cast<int64_t>(prompt.size());
  if (prompt_tokens >= sequence_limits_.max_sequence_tokens) return absl::OkStatus();
  return CheckHolds(
      {.state = {},
       .prompt = prompt,
       .tokens = std::min(prompt_tokens + max_tokens, sequence_limits_.max_sequence_tokens),
       .answers = choices});
}

absl::Status Engine::Impl::CheckHolds(const KvMemory::Demand& demand) const {
  if (memory_.CanEverHold(demand)) return absl::OkStatus();
  return absl::InvalidArgumentError(
      StrCat(demand.answers, " answers of up to ",
             demand.tokens - static_cast<int64_t>(demand.prompt.size()),
             " tokens each, to a prompt of ", demand.prompt.size(), ", need ",
             memory_.BytesOf(demand), " bytes of KV memory, but there are ",
             executor_.kv_budget_bytes(), ": ask for fewer answers, or for fewer tokens"));
}

absl::StatusOr<std::shared_ptr<CancellationToken>> Engine::Impl::Submit(GenerationRequest request) {
  SHIRA_RETURN_IF_ERROR(Sequence::Check(request, sequence_limits_));
  request.speculate = executor_.has_exact_rows() && request.speculate.value_or(speculates_);
  auto sequence =
      std::make_unique<Sequence>(next_id_++, std::move(request), sequence_limits_, SteadyNow());
  SHIRA_RETURN_IF_ERROR(CheckHolds(sequence->kv_demand()));
  const std::shared_ptr<CancellationToken> cancellation = sequence->cancellation();
  absl::MutexLock lock(&mutex_);
  SHIRA_RETURN_IF_ERROR(CheckRoomLocked());
  queue_.Push(std::move(sequence));
  // Still under the lock, so that the engine's thread cannot admit it before.
  stats_.BookQueued();
  ++in_flight_;
  news_ = true;
  return cancellation;
}

absl::StatusOr<SwitchStats> Engine::Impl::Apply(const StateHandle& state, SteadyTime deadline) {
  if (!state) return absl::InvalidArgumentError("there is no state to apply");
  SwitchStats result;
  SHIRA_RETURN_IF_ERROR(controls_.Run([&] { result = runner_.SwitchTo(state.state()); }, deadline));
  return result;
}

absl::StatusOr<VerifyReport> Engine::Impl::Verify(SteadyTime deadline) {
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

void Engine::Impl::Leave(const Sha256Digest& adapter) {
  const auto leave = [&] {
    if (PrefixCache* prefixes = memory_.prefixes()) prefixes->EraseUsersOf(adapter);
    const bool is_used =
        std::any_of(running_.begin(), running_.end(),
                    [&](const SequencePtr& sequence) { return sequence->Uses(adapter); });
    if (!is_used) runner_.Leave(adapter);
    BookMemory();
  };
  // A stopped engine refuses this, and has no state or prefix left that could be used.
  controls_.Run(leave, SteadyTime::InfiniteFuture()).IgnoreError();
}

void Engine::Impl::Drain(absl::Duration timeout) {
  {
    absl::MutexLock lock(&mutex_);
    draining_ = true;
    const auto over = [this] {
      mutex_.AssertHeld();
      return stop_ || in_flight_ == 0;
    };
    AwaitUntil(mutex_, absl::Condition(&over), SteadyNow() + timeout);
    stop_ = true;
  }
  // A second caller waits here until the first has joined the thread.
  std::call_once(join_once_, [this] { thread_.join(); });
}

EngineStats Engine::Impl::stats() const {
  EngineStats stats = stats_.Read();
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
  const bool idle = running_.empty() && !queue_moved_;
  absl::MutexLock lock(&mutex_);
  const auto has_work = [&] {
    mutex_.AssertHeld();
    controls_.AssertMutexHeld();
    return stop_ || !idle || news_ || !controls_.empty();
  };
  // With nothing running, queued generations wait for their states. Deadlines and cancellations do
  // not wake the engine, so it polls for them.
  AwaitUntil(mutex_, absl::Condition(&has_work),
             queue_.empty() ? SteadyTime::InfiniteFuture() : SteadyNow() + kLookAgain);
  if (std::exchange(news_, false)) queue_moved_ = true;
  return !stop_;
}

void Engine::Impl::OnNews() {
  absl::MutexLock lock(&mutex_);
  news_ = true;
}

void Engine::Impl::EndInterrupted() {
  const SteadyTime now = SteadyNow();
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
  const SteadyTime now = SteadyNow();
  AdmissionSnapshot snapshot = {.running_rows = RunningRows(), .queued = {}};
  const bool has_room = snapshot.running_rows < admission_limits_.max_rows;
  if (has_room || queue_moved_) {
    absl::MutexLock lock(&mutex_);
    snapshot.queued = queue_.Views(now);
  }
  queue_moved_ = false;
  if (snapshot.queued.empty()) return;
  snapshot.clients = SharesOf(snapshot.queued, now);
  if (!has_room) {
    PrepareNext(snapshot);
    return;
  }
  const Admissions admissions =
      PlanAdmissions(snapshot, admission_limits_, [this](SequenceId id) { return TryAdmit(id); });
  absl::MutexLock lock(&mutex_);
  for (const SequenceId id : admissions.bypassed) queue_.Find(id)->Bypass();
}

void Engine::Impl::PrepareNext(const AdmissionSnapshot& snapshot) {
  const std::vector<SequenceView> order = AdmissionOrder(snapshot, admission_limits_);
  for (size_t i = 0; i < order.size() && i < kLookAhead; ++i) {
    preparation_.Begin(*FindQueued(order[i].id), /*others_run=*/true);
  }
}

ClientShares Engine::Impl::SharesOf(absl::Span<const SequenceView> queued, SteadyTime now) {
  ClientShares shares;
  for (const SequenceView& view : queued) shares[view.client];
  for (const SequencePtr& sequence : running_) shares[sequence->client()].rows += sequence->rows();
  // Clients come and go.
  absl::erase_if(turns_, [&](const auto& turn) { return !shares.contains(turn.first); });
  for (const auto& [client, turn] : turns_) {
    ClientShare& share = shares[client];
    share.last_turn = turn.number;
    share.unserved = now - turn.time;
  }
  return shares;
}

Room Engine::Impl::TryAdmit(SequenceId id) {
  Sequence* const queued = FindQueued(id);
  absl::Status error;
  switch (preparation_.Advance(*queued, !running_.empty(), error)) {
    case StatePreparation::Progress::kReady:
      break;
    case StatePreparation::Progress::kUnderWay:
      return Room::kNotYet;
    case StatePreparation::Progress::kNoMemory:
      return Room::kNone;
    case StatePreparation::Progress::kFailed:
      End(TakeQueued(id), error);
      return Room::kNotYet;
  }
  absl::StatusOr<KvMemory::Reservation> memory = memory_.Reserve(queued->kv_demand());
  // With nothing running, waiting would not help.
  if (absl::IsResourceExhausted(memory.status()) && !running_.empty()) return Room::kNone;
  SequencePtr sequence = TakeQueued(id);
  if (!memory.ok()) {
    End(std::move(sequence), memory.status());
    return Room::kNotYet;
  }
  const SteadyTime now = SteadyNow();
  stats_.BookAdmitted(memory->cached_tokens, memory_.prefixes() != nullptr);
  turns_[sequence->client()] = {.number = ++next_turn_, .time = now};
  sequence->Admit(*std::move(memory), now);
  running_.push_back(std::move(sequence));
  queue_moved_ = true;
  return Room::kTaken;
}

// Only this thread takes sequences out of the queue, so whatever was seen there is still there.
Sequence* Engine::Impl::FindQueued(SequenceId id) {
  absl::MutexLock lock(&mutex_);
  return queue_.Find(id);
}

Engine::Impl::SequencePtr Engine::Impl::TakeQueued(SequenceId id) {
  absl::MutexLock lock(&mutex_);
  return queue_.Take(id);
}

void Engine::Impl::Step() {
  if (!running_.empty()) {
    for (StepRunner::Ended& ended : runner_.Run(running_)) {
      EndRunning(ended.sequence, std::move(ended.outcome));
    }
  }
  BookMemory();
}

void Engine::Impl::BookMemory() {
  int64_t bytes = 0;
  for (const SequencePtr& sequence : running_) bytes += memory_.BytesOf(sequence->kv_demand());
  // Pages that several share were counted several times.
  stats_.SetNow(RunningRows(), std::min(bytes, executor_.kv_used_bytes()), memory_.prefixes());
}

void Engine::Impl::End(SequencePtr sequence, Outcome outcome) {
  preparation_.Forget(sequence->id());
  preparation_.OnMemoryFreed();
  queue_moved_ = true;
  const absl::Status* failure = std::get_if<absl::Status>(&outcome);
  stats_.BookEnd(sequence->admitted(), failure == nullptr ? absl::OkStatus() : *failure);
  {
    absl::MutexLock lock(&mutex_);
    --in_flight_;
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

int64_t Engine::Impl::RunningRows() const {
  return std::accumulate(running_.begin(), running_.end(), int64_t{0},
                         [](int64_t sum, const SequencePtr& s) { return sum + s->rows(); });
}

// ---- The public face ----------------------------------------------------------------------------

Engine::Engine(Options options, ModelExecutor& executor, SwitchEngine& switch_engine)
    : impl_(std::make_unique<Impl>(options, executor, switch_engine)) {}

Engine::~Engine() { Drain(absl::ZeroDuration()); }

absl::StatusOr<std::shared_ptr<CancellationToken>> Engine::Submit(GenerationRequest request) {
  return impl_->Submit(std::move(request));
}

absl::Status Engine::CheckRoom() { return impl_->CheckRoom(); }

absl::Status Engine::CheckAnswers(absl::Span<const int32_t> prompt, int64_t max_tokens,
                                  int32_t choices) const {
  return impl_->CheckAnswers(prompt, max_tokens, choices);
}

absl::StatusOr<SwitchStats> Engine::Apply(const StateHandle& state, SteadyTime deadline) {
  return impl_->Apply(state, deadline);
}

absl::StatusOr<VerifyReport> Engine::Verify(SteadyTime deadline) { return impl_->Verify(deadline); }

void Engine::CancelUsersOf(const Sha256Digest& adapter) { impl_->CancelUsersOf(adapter); }

void Engine::Leave(const Sha256Digest& adapter) { impl_->Leave(adapter); }

void Engine::Drain(absl::Duration timeout) { impl_->Drain(timeout); }

int64_t Engine::context_length() const { return impl_->context_length(); }

EngineStats Engine::stats() const { return impl_->stats(); }

}  // namespace shira
