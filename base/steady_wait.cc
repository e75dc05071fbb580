#include "base/steady_wait.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <set>
#include <thread>
#include <utility>

#include "base/steady_clock.h"

namespace shira {
namespace {

struct Alarm {
  absl::Mutex& mutex;
  const absl::Condition& condition;
  bool rang = false;  // guarded by `mutex`

  static bool IsOver(Alarm* alarm) { return alarm->rang || alarm->condition.Eval(); }
};

// Rings alarms when their time has come: takes each one's mutex, so that its conditions are looked
// at again. The thread sleeps in poll(), whose time-out is the monotonic clock's.
//
// Threads that hold an alarm's mutex may take this object's. So its thread never holds both.
class AlarmClock {
 public:
  // Never destroyed: waits may outlive static objects.
  static AlarmClock& Get() {
    static AlarmClock* const clock = new AlarmClock;
    return *clock;
  }

  void Set(SteadyTime time, Alarm* alarm) ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    const auto [place, is_new] = alarms_.emplace(time, alarm);
    if (place == alarms_.begin()) Wake();
  }

  // The alarm is not touched any more once this has returned. May release its mutex meanwhile.
  void Clear(SteadyTime time, Alarm* alarm) ABSL_NO_THREAD_SAFETY_ANALYSIS {
    {
      absl::MutexLock lock(&mutex_);
      if (alarms_.erase({time, alarm}) > 0 || ringing_ != alarm) return;
    }
    alarm->mutex.Unlock();
    {
      const auto is_over = [&] {
        mutex_.AssertHeld();
        return ringing_ != alarm;
      };
      absl::MutexLock lock(&mutex_, absl::Condition(&is_over));
    }
    alarm->mutex.Lock();
  }

 private:
  AlarmClock() {
    std::thread([this] { Run(); }).detach();
  }

  void Wake() const {
    const uint64_t one = 1;
    [[maybe_unused]] const ssize_t written = write(wake_, &one, sizeof(one));
  }

  void Run() {
    while (true) {
      Alarm* alarm = nullptr;
      absl::Duration left = absl::Hours(1);
      {
        absl::MutexLock lock(&mutex_);
        if (!alarms_.empty()) left = std::min(left, alarms_.begin()->first - SteadyNow());
        if (left <= absl::ZeroDuration()) {
          alarm = ringing_ = alarms_.begin()->second;
          alarms_.erase(alarms_.begin());
        }
      }
      if (alarm == nullptr) {
        Sleep(left);
        continue;
      }
      {
        absl::MutexLock lock(&alarm->mutex);
        alarm->rang = true;
      }
      absl::MutexLock lock(&mutex_);
      ringing_ = nullptr;
    }
  }

  void Sleep(absl::Duration duration) const {
    // Without a descriptor it has to look by itself.
    if (wake_ < 0) duration = std::min(duration, absl::Milliseconds(10));
    pollfd wake = {.fd = wake_, .events = POLLIN, .revents = 0};
    const absl::Duration up = absl::Ceil(duration, absl::Milliseconds(1));
    if (poll(&wake, 1, static_cast<int>(absl::ToInt64Milliseconds(up))) <= 0) return;
    uint64_t count = 0;
    [[maybe_unused]] const ssize_t size = read(wake_, &count, sizeof(count));
  }

  const int wake_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  absl::Mutex mutex_;
  std::set<std::pair<SteadyTime, Alarm*>> alarms_ ABSL_GUARDED_BY(mutex_);
  Alarm* ringing_ ABSL_GUARDED_BY(mutex_) = nullptr;
};

}  // namespace

bool AwaitUntil(absl::Mutex& mutex, const absl::Condition& condition, SteadyTime deadline) {
  if (deadline == SteadyTime::InfiniteFuture()) {
    mutex.Await(condition);
    return true;
  }
  if (condition.Eval() || deadline <= SteadyNow()) return condition.Eval();
  Alarm alarm{mutex, condition};
  AlarmClock::Get().Set(deadline, &alarm);
  mutex.Await(absl::Condition(&Alarm::IsOver, &alarm));
  AlarmClock::Get().Clear(deadline, &alarm);
  return condition.Eval();
}

}  // namespace shira
