// File: base/steady_clock.h
//
// Time for deadlines and durations. The wall clock jumps when it is set; a deadline that was
// compared with it would then end every generation at once, or none, and a duration that was
// measured with it may be negative or hours long. So the two have types of their own: absl::Time is
// a point in time for people and other machines, SteadyTime for this process alone.

#ifndef SHIRA_BASE_STEADY_CLOCK_H_
#define SHIRA_BASE_STEADY_CLOCK_H_

#include <compare>

#include "absl/time/time.h"

namespace shira {

// A point on the monotonic clock, which never jumps. Differences are absl::Duration; there is no
// way to or from absl::Time.
class SteadyTime {
 public:
  // As InfinitePast().
  constexpr SteadyTime() = default;

  static constexpr SteadyTime InfinitePast() { return SteadyTime(); }
  static constexpr SteadyTime InfiniteFuture() { return SteadyTime(absl::InfiniteDuration()); }
  // So long after the clock's beginning, which is unspecified: for the clock itself, and for tests.
  static constexpr SteadyTime FromClock(absl::Duration since_beginning) {
    return SteadyTime(since_beginning);
  }

  SteadyTime& operator+=(absl::Duration duration) {
    since_beginning_ += duration;
    return *this;
  }
  SteadyTime& operator-=(absl::Duration duration) {
    since_beginning_ -= duration;
    return *this;
  }

  friend SteadyTime operator+(SteadyTime time, absl::Duration duration) { return time += duration; }
  friend SteadyTime operator-(SteadyTime time, absl::Duration duration) { return time -= duration; }
  friend absl::Duration operator-(SteadyTime later, SteadyTime earlier) {
    return later.since_beginning_ - earlier.since_beginning_;
  }
  friend constexpr std::strong_ordering operator<=>(SteadyTime a, SteadyTime b) {
    if (a == b) return std::strong_ordering::equal;
    return a.since_beginning_ < b.since_beginning_ ? std::strong_ordering::less
                                                   : std::strong_ordering::greater;
  }
  friend constexpr bool operator==(SteadyTime a, SteadyTime b) {
    return a.since_beginning_ == b.since_beginning_;
  }

 private:
  explicit constexpr SteadyTime(absl::Duration since_beginning)
      : since_beginning_(since_beginning) {}

  absl::Duration since_beginning_ = -absl::InfiniteDuration();
};

// Thread-safe.
SteadyTime SteadyNow();

}  // namespace shira

#endif  // SHIRA_BASE_STEADY_CLOCK_H_
