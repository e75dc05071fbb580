#include "server/engine/control_queue.h"

#include <algorithm>
#include <utility>

#include "base/steady_wait.h"

namespace shira {

absl::Status ControlQueue::Run(std::function<void()> operation, SteadyTime deadline) {
  const auto entry = std::make_shared<Entry>();
  entry->operation = std::move(operation);
  absl::MutexLock lock(&mutex_);
  if (closed_) return absl::UnavailableError("the engine has stopped");
  entries_.push_back(entry);

  const auto left_queue = [&] { return entry->progress != Progress::kQueued; };
  if (!AwaitUntil(mutex_, absl::Condition(&left_queue), deadline)) {
    entries_.erase(std::find(entries_.begin(), entries_.end(), entry));
    return absl::DeadlineExceededError("the engine was busy with a step until the deadline");
  }
  const auto ended = [&] { return entry->progress != Progress::kRunning; };
  mutex_.Await(absl::Condition(&ended));
  if (entry->progress == Progress::kRefused) {
    return absl::UnavailableError("the engine has stopped");
  }
  return absl::OkStatus();
}

void ControlQueue::Post(std::function<void()> operation) {
  auto entry = std::make_shared<Entry>();
  entry->operation = std::move(operation);
  absl::MutexLock lock(&mutex_);
  if (!closed_) entries_.push_back(std::move(entry));
}

void ControlQueue::RunAll() {
  while (true) {
    std::shared_ptr<Entry> entry;
    {
      absl::MutexLock lock(&mutex_);
      if (entries_.empty()) return;
      entry = std::move(entries_.front());
      entries_.pop_front();
      entry->progress = Progress::kRunning;
    }
    entry->operation();
    absl::MutexLock lock(&mutex_);
    entry->progress = Progress::kDone;
  }
}

void ControlQueue::Close() {
  absl::MutexLock lock(&mutex_);
  closed_ = true;
  for (const auto& entry : entries_) entry->progress = Progress::kRefused;
  entries_.clear();
}

}  // namespace shira
