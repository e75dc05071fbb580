// File: tools/adapter_stats.h
//
// Figures about one adapter's entries.

#ifndef SHIRA_TOOLS_ADAPTER_STATS_H_
#define SHIRA_TOOLS_ADAPTER_STATS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "adapters/sparse_adapter.h"
#include "tools/parameter_name.h"

namespace shira::tools {

// Of one parameter, or of several added up.
struct EntryStats {
  int64_t parameters = 0;
  int64_t elements = 0;  // of the whole matrices
  int64_t entries = 0;
  int64_t replacements = 0;  // entries whose value takes the place of a weight
  // Of the other entries, the deltas:
  int64_t zeros = 0;          // that change nothing
  double sum_of_squares = 0;  // of value * scale
  double largest = 0;         // magnitude of value * scale

  int64_t deltas() const { return entries - replacements; }
  double density() const;
  double norm() const;  // Euclidean (Frobenius, of the sparse matrix)
  void Add(const EntryStats& other);
};

struct ParameterStats {
  std::string parameter;
  ParameterPlace place;
  int64_t rows = 0;
  int64_t cols = 0;
  EntryStats stats;
};

// In the adapter's order.
std::vector<ParameterStats> StatsOf(const SparseAdapter& adapter);

}  // namespace shira::tools

#endif  // SHIRA_TOOLS_ADAPTER_STATS_H_
