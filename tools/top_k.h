// File: tools/top_k.h
//
// The largest elements of a dense delta, as the entries of a sparse one.

#ifndef SHIRA_TOOLS_TOP_K_H_
#define SHIRA_TOOLS_TOP_K_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "adapters/sparse_adapter.h"

namespace shira::tools {

// round(density * elements), at least 1. REQUIRES: density in (0, 1].
int64_t EntriesAtDensity(double density, int64_t elements);

// The positions of the `count` values of largest magnitude, ascending; of equal magnitudes the
// first positions are taken. Zeros are never taken, so there can be fewer. Uses no memory beyond
// the result but 0.5 MB. REQUIRES: no value is a NaN.
std::vector<int64_t> LargestPositions(absl::Span<const float> values, int64_t count);

// What is left of one parameter's delta.
struct Sparsified {
  std::optional<ParameterDelta> delta;  // nullopt where the dense delta is zero everywhere
  double energy = 0;                    // sum of squares of the dense delta
  double energy_kept = 0;               // of the entries
};

// INVALID_ARGUMENT, naming the element, for a value that is not finite. `dense` is row-major,
// [rows, cols].
absl::StatusOr<Sparsified> Sparsify(const std::string& parameter, int64_t rows, int64_t cols,
                                    absl::Span<const float> dense, double density);

}  // namespace shira::tools

#endif  // SHIRA_TOOLS_TOP_K_H_
