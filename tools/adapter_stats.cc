#include "tools/adapter_stats.h"

#include <algorithm>
#include <cmath>

namespace shira::tools {

double EntryStats::density() const {
  return elements > 0 ? static_cast<double>(entries) / static_cast<double>(elements) : 0;
}

double EntryStats::norm() const { return std::sqrt(sum_of_squares); }

void EntryStats::Add(const EntryStats& other) {
  parameters += other.parameters;
  elements += other.elements;
  entries += other.entries;
  replacements += other.replacements;
  zeros += other.zeros;
  sum_of_squares += other.sum_of_squares;
  largest = std::max(largest, other.largest);
}

std::vector<ParameterStats> StatsOf(const SparseAdapter& adapter) {
  std::vector<ParameterStats> all;
  for (const ParameterDelta& delta : adapter.deltas) {
    ParameterStats& one = all.emplace_back();
    one.parameter = delta.parameter;
    one.place = PlaceOf(delta.parameter);
    one.rows = delta.table->rows();
    one.cols = delta.table->cols();
    one.stats.parameters = 1;
    one.stats.elements = one.rows * one.cols;
    one.stats.entries = delta.table->entries();
    if (delta.kind == ValueKind::kReplacement) {
      one.stats.replacements = one.stats.entries;
      continue;
    }
    for (const float value : delta.values) {
      const double scaled = static_cast<double>(value) * adapter.scale;
      one.stats.zeros += scaled == 0;
      one.stats.sum_of_squares += scaled * scaled;
      one.stats.largest = std::max(one.stats.largest, std::abs(scaled));
    }
  }
  return all;
}

}  // namespace shira::tools
