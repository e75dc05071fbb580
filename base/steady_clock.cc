#include "base/steady_clock.h"

#include <chrono>

namespace shira {

SteadyTime SteadyNow() {
  return SteadyTime::FromClock(
      absl::FromChrono(std::chrono::steady_clock::now().time_since_epoch()));
}

}  // namespace shira
