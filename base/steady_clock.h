// File: base/steady_clock.h
//
// Time for deadlines and durations. The wall clock jumps when somebody sets it; a deadline that was
// compared with it would then end every generation at once, or none.

#ifndef SHIRA_BASE_STEADY_CLOCK_H_
#define SHIRA_BASE_STEADY_CLOCK_H_

#include "absl/time/time.h"

namespace shira {

// The wall clock's time when it was first asked for, and since then as much as the monotonic clock
// says has passed: it never jumps. So it means a point in time to this process alone, and is close
// to absl::Now() only while nobody sets the clock. Thread-safe.
absl::Time SteadyNow();

}  // namespace shira

#endif  // SHIRA_BASE_STEADY_CLOCK_H_
