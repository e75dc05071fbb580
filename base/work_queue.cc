#include "base/work_queue.h"

#include <algorithm>
#include <utility>

#include "base/strings.h"

namespace shira {

WorkQueue::WorkQueue(Options options) : options_(std::move(options)) {
  for (int i = 0; i < options_.threads; ++i) threads_.emplace_back([this] { Run(); });
}

WorkQueue::~WorkQueue() {
  {
    absl::MutexLock lock(&mutex_);
    closing_ = true;
  }
  for (std::thread& thread : threads_) thread.join();
}

absl::Status WorkQueue::Add(std::string_view owner, std::function<void()> work) {
  absl::MutexLock lock(&mutex_);
  const auto found = lines_.find(ToAbsl(owner));
  const int64_t own =
      found == lines_.end() ? 0 : static_cast<int64_t>(found->second.waiting.size());
  if (waiting_ >= options_.max_waiting || own >= options_.max_waiting_per_owner) {
    return absl::ResourceExhaustedError(StrCat("too many wait for ", options_.name, " (", waiting_,
                                               ", ", own, " of them of '", owner,
                                               "'): try again later"));
  }
  Line& line = found == lines_.end() ? lines_[std::string(owner)] : found->second;
  if (line.waiting.empty()) turns_.emplace_back(owner);
  line.waiting.push_back(std::move(work));
  ++waiting_;
  return absl::OkStatus();
}

std::deque<std::string>::iterator WorkQueue::Next() {
  const int most = std::max(1, options_.threads - 1);
  return std::find_if(turns_.begin(), turns_.end(), [&](const std::string& owner) {
    mutex_.AssertHeld();
    return lines_.find(owner)->second.running < most;
  });
}

void WorkQueue::Run() {
  absl::MutexLock lock(&mutex_);
  const auto has_work = [this] {
    mutex_.AssertHeld();
    return Next() != turns_.end() || (closing_ && waiting_ == 0);
  };
  while (true) {
    mutex_.Await(absl::Condition(&has_work));
    const auto next = Next();
    if (next == turns_.end()) return;
    const std::string owner = std::move(*next);
    turns_.erase(next);
    Line& line = lines_[owner];
    std::function<void()> work = std::move(line.waiting.front());
    line.waiting.pop_front();
    --waiting_;
    ++line.running;
    if (!line.waiting.empty()) turns_.push_back(owner);

    mutex_.Unlock();
    work();
    work = nullptr;  // what it holds may be large
    mutex_.Lock();

    const auto done = lines_.find(owner);
    if (--done->second.running == 0 && done->second.waiting.empty()) lines_.erase(done);
  }
}

}  // namespace shira
