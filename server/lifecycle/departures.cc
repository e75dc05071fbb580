#include "server/lifecycle/departures.h"

#include <utility>

#include "base/steady_wait.h"

namespace shira {

Departures::Departures(std::function<void(const Sha256Digest&)> leave, std::function<void()> idle)
    : leave_(std::move(leave)), idle_(std::move(idle)), thread_([this] { Run(); }) {}

Departures::~Departures() { Stop(); }

void Departures::Add(const Sha256Digest& adapter) {
  absl::MutexLock lock(&mutex_);
  if (stopping_) return;
  waiting_.push_back(adapter);
  ++added_;
}

bool Departures::Await(SteadyTime deadline) {
  absl::MutexLock lock(&mutex_);
  const int64_t wanted = added_;
  const auto is_over = [&] {
    mutex_.AssertHeld();
    return stopping_ || left_ >= wanted;
  };
  AwaitUntil(mutex_, absl::Condition(&is_over), deadline);
  return left_ >= wanted;
}

void Departures::Stop() {
  {
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
  }
  if (thread_.joinable()) thread_.join();
}

void Departures::Run() {
  const auto is_wanted = [this] {
    mutex_.AssertHeld();
    return stopping_ || !waiting_.empty();
  };
  while (true) {
    Sha256Digest adapter;
    {
      absl::MutexLock lock(&mutex_);
      mutex_.Await(absl::Condition(&is_wanted));
      if (stopping_) return;
      adapter = waiting_.front();
      waiting_.pop_front();
    }
    leave_(adapter);
    bool is_idle = false;
    {
      absl::MutexLock lock(&mutex_);
      is_idle = waiting_.empty();
    }
    if (is_idle) idle_();
    absl::MutexLock lock(&mutex_);
    ++left_;
  }
}

}  // namespace shira
