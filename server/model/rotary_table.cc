#include "server/model/rotary_table.h"

#include <algorithm>

namespace shira {

void RotaryTable::Reserve(int64_t positions) {
  constexpr int64_t kFirst = 1024;
  if (positions <= positions_) return;
  const int64_t size = std::max({positions, 2 * positions_, kFirst});
  angles_ = rotary_.Below(size, dtype_);
  positions_ = size;
}

}  // namespace shira
