#include "server/engine/engine_stats.h"

#include <algorithm>

namespace shira {

void DurationHistogram::Add(absl::Duration duration) {
  const auto bound =
      std::lower_bound(kBounds.begin(), kBounds.end(), absl::ToDoubleSeconds(duration));
  ++counts[bound - kBounds.begin()];
  ++count;
  sum += duration;
}

}  // namespace shira
