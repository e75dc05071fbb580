#include "tools/top_k.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <utility>

#include "base/status_macros.h"
#include "base/strings.h"

namespace shira::tools {
namespace {

// Magnitudes are ordered like these numbers.
uint32_t Magnitude(float value) { return std::bit_cast<uint32_t>(value) & 0x7FFFFFFFu; }

// The smallest magnitude that is taken, and how many are larger than it.
struct Threshold {
  uint32_t magnitude = 1;
  int64_t larger = 0;
};

// Goes down a histogram from its top. Leaves in `larger` what is above the bin that is returned:
// the one in which the `count`-th falls, or `lowest` if there are fewer.
uint32_t BinOf(const std::vector<int64_t>& histogram, int64_t count, uint32_t lowest,
               int64_t& larger) {
  for (uint32_t bin = static_cast<uint32_t>(histogram.size()) - 1; bin > lowest; --bin) {
    if (larger + histogram[bin] >= count) return bin;
    larger += histogram[bin];
  }
  return lowest;
}

// Two passes, over the upper and the lower 16 bits.
Threshold FindThreshold(absl::Span<const float> values, int64_t count) {
  std::vector<int64_t> histogram(1 << 16);
  for (const float value : values) ++histogram[Magnitude(value) >> 16];
  Threshold threshold;
  const uint32_t upper = BinOf(histogram, count, 0, threshold.larger);
  std::fill(histogram.begin(), histogram.end(), 0);
  for (const float value : values) {
    const uint32_t magnitude = Magnitude(value);
    if (magnitude >> 16 == upper) ++histogram[magnitude & 0xFFFFu];
  }
  // Magnitude 0 is never taken.
  const uint32_t lower = BinOf(histogram, count, upper == 0 ? 1 : 0, threshold.larger);
  threshold.magnitude = (upper << 16) | lower;
  return threshold;
}

}  // namespace

int64_t EntriesAtDensity(double density, int64_t elements) {
  return std::max<int64_t>(1, std::llround(density * static_cast<double>(elements)));
}

std::vector<int64_t> LargestPositions(absl::Span<const float> values, int64_t count) {
  const Threshold threshold = FindThreshold(values, count);
  int64_t ties = count - threshold.larger;  // how many of the threshold's own magnitude are taken
  std::vector<int64_t> positions;
  positions.reserve(std::min<int64_t>(count, static_cast<int64_t>(values.size())));
  for (size_t i = 0; i < values.size(); ++i) {
    const uint32_t magnitude = Magnitude(values[i]);
    if (magnitude < threshold.magnitude) continue;
    if (magnitude == threshold.magnitude && ties-- <= 0) continue;
    positions.push_back(static_cast<int64_t>(i));
  }
  return positions;
}

absl::StatusOr<Sparsified> Sparsify(const std::string& parameter, int64_t rows, int64_t cols,
                                    absl::Span<const float> dense, double density) {
  Sparsified result;
  for (size_t i = 0; i < dense.size(); ++i) {
    if (!std::isfinite(dense[i])) {
      return absl::InvalidArgumentError(StrCat(parameter, ", row ", static_cast<int64_t>(i) / cols,
                                               ", column ", static_cast<int64_t>(i) % cols,
                                               ": expected a finite delta, found ", dense[i]));
    }
    result.energy += static_cast<double>(dense[i]) * dense[i];
  }
  const std::vector<int64_t> positions =
      LargestPositions(dense, EntriesAtDensity(density, rows * cols));
  if (positions.empty()) return result;
  ParameterDelta delta;
  delta.parameter = parameter;
  delta.values.reserve(positions.size());
  for (const int64_t position : positions) {
    const float value = dense[position];
    delta.values.push_back(value);
    result.energy_kept += static_cast<double>(value) * value;
  }
  SHIRA_ASSIGN_OR_RETURN(delta.table, IndexTable::Create(rows, cols, positions));
  result.delta = std::move(delta);
  return result;
}

}  // namespace shira::tools
