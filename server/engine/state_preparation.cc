#include "server/engine/state_preparation.h"

#include <atomic>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"

namespace shira {

struct StatePreparation::Job {
  std::atomic<bool> has_memory = false;
  absl::Mutex mutex;
  bool done ABSL_GUARDED_BY(mutex) = false;
  absl::StatusOr<std::shared_ptr<const CompiledState>> state ABSL_GUARDED_BY(mutex);
};

struct StatePreparation::Bell {
  explicit Bell(std::function<void()> on_news) : ring(std::move(on_news)) {}

  absl::Mutex mutex;
  std::function<void()> ring ABSL_GUARDED_BY(mutex);  // nullptr: the listener is gone
};

StatePreparation::StatePreparation(Options options, std::function<void()> on_news)
    : options_(std::move(options)), bell_(std::make_shared<Bell>(std::move(on_news))) {}

StatePreparation::~StatePreparation() {
  absl::MutexLock lock(&bell_->mutex);
  bell_->ring = nullptr;
}

StatePreparation::Progress StatePreparation::Advance(Sequence& sequence, bool others_run,
                                                     absl::Status& error) {
  if (sequence.FindState()) {
    Forget(sequence.id());
    return Progress::kReady;
  }
  const auto found = entries_.find(sequence.id());
  if (found == entries_.end() || found->second.job == nullptr) Begin(sequence, others_run);
  const auto place = entries_.find(sequence.id());
  if (place == entries_.end()) return Progress::kUnderWay;
  Entry& entry = place->second;
  if (entry.job == nullptr) return Progress::kNoMemory;

  absl::StatusOr<std::shared_ptr<const CompiledState>> state;
  {
    absl::MutexLock lock(&entry.job->mutex);
    if (!entry.job->done) {
      const bool lacks_memory = entry.lacked_memory && !entry.job->has_memory;
      return lacks_memory ? Progress::kNoMemory : Progress::kUnderWay;
    }
    state = std::move(entry.job->state);
  }
  if (absl::IsResourceExhausted(state.status()) && entry.others_had_memory) {
    entry.job = nullptr;
    --ahead_;
    entry.lacked_memory = true;
    return Progress::kNoMemory;
  }
  Forget(sequence.id());
  if (!state.ok()) {
    error = state.status();
    return Progress::kFailed;
  }
  sequence.SetState(*std::move(state));
  return Progress::kReady;
}

void StatePreparation::Begin(const Sequence& sequence, bool others_run) {
  if (ahead_ >= options_.max_ahead || sequence.KnowsState()) return;
  const auto found = entries_.find(sequence.id());
  if (found == entries_.end()) {
    Entry entry;
    if (Start(sequence, others_run, entry)) entries_[sequence.id()] = std::move(entry);
    return;
  }
  Entry& entry = found->second;
  if (entry.job != nullptr) return;
  const bool worth_trying = entry.freed != freed_ || (!others_run && ahead_ == 0);
  if (worth_trying) Start(sequence, others_run, entry);
}

bool StatePreparation::Start(const Sequence& sequence, bool others_run, Entry& entry) {
  const auto job = std::make_shared<Job>();
  // Holds the adapters until it is over, whatever becomes of the sequence.
  auto work = [job, bell = bell_, source = sequence.state().source()] {
    absl::StatusOr<std::shared_ptr<const CompiledState>> state =
        source->Get([&] { job->has_memory = true; });
    {
      absl::MutexLock lock(&job->mutex);
      job->state = std::move(state);
      job->done = true;
    }
    absl::MutexLock lock(&bell->mutex);
    if (bell->ring) bell->ring();
  };
  if (options_.run == nullptr) {
    work();
  } else if (!options_.run(sequence.client(), std::move(work)).ok()) {
    return false;  // another time
  }
  entry.job = job;
  entry.others_had_memory = others_run || ahead_ > 0;
  entry.freed = freed_;
  ++ahead_;
  return true;
}

void StatePreparation::Forget(SequenceId id) {
  const auto found = entries_.find(id);
  if (found == entries_.end()) return;
  if (found->second.job != nullptr) --ahead_;
  entries_.erase(found);
}

}  // namespace shira
