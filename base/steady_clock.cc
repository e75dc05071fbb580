#include "base/steady_clock.h"

#include <chrono>

#include "absl/time/clock.h"

namespace shira {

absl::Time SteadyNow() {
  using Clock = std::chrono::steady_clock;
  static const Clock::time_point start = Clock::now();
  static const absl::Time wall_start = absl::Now();
  return wall_start + absl::FromChrono(Clock::now() - start);
}

}  // namespace shira
