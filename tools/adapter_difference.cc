#include "tools/adapter_difference.h"

#include <cmath>
#include <map>

namespace shira::tools {
namespace {

struct Entry {
  int64_t position;
  double value;
};

std::vector<Entry> EntriesOf(const ParameterDelta* delta, float scale) {
  std::vector<Entry> entries;
  if (delta == nullptr) return entries;
  entries.reserve(delta->values.size());
  delta->table->ForEach([&](uint32_t entry, int64_t position) {
    entries.push_back({position, static_cast<double>(delta->values[entry]) * scale});
  });
  return entries;
}

bool IsDelta(const ParameterDelta* delta) {
  return delta == nullptr || delta->kind == ValueKind::kDelta;
}

Overlap OverlapOf(const std::vector<Entry>& a, const std::vector<Entry>& b, bool compare_values) {
  Overlap overlap;
  overlap.entries_a = static_cast<int64_t>(a.size());
  overlap.entries_b = static_cast<int64_t>(b.size());
  if (compare_values) {
    for (const Entry& entry : a) overlap.squares_a += entry.value * entry.value;
    for (const Entry& entry : b) overlap.squares_b += entry.value * entry.value;
  }
  for (size_t i = 0, j = 0; i < a.size() && j < b.size();) {
    if (a[i].position != b[j].position) {
      ++(a[i].position < b[j].position ? i : j);
      continue;
    }
    ++overlap.common;
    if (compare_values) {
      overlap.equal += a[i].value == b[j].value;
      overlap.sign_conflicts += a[i].value * b[j].value < 0;
      overlap.product += a[i].value * b[j].value;
    }
    ++i;
    ++j;
  }
  return overlap;
}

}  // namespace

void Overlap::Add(const Overlap& other) {
  entries_a += other.entries_a;
  entries_b += other.entries_b;
  common += other.common;
  equal += other.equal;
  sign_conflicts += other.sign_conflicts;
  squares_a += other.squares_a;
  squares_b += other.squares_b;
  product += other.product;
}

double Overlap::jaccard() const {
  const int64_t all = entries_a + entries_b - common;
  return all > 0 ? static_cast<double>(common) / static_cast<double>(all) : 0;
}

double Overlap::cosine() const {
  // Two roots: the product of two small sums could underflow.
  const double norms = std::sqrt(squares_a) * std::sqrt(squares_b);
  return norms > 0 ? product / norms : 0;
}

std::vector<ParameterOverlap> Compare(const SparseAdapter& a, const SparseAdapter& b) {
  std::map<std::string, std::pair<const ParameterDelta*, const ParameterDelta*>> pairs;
  for (const ParameterDelta& delta : a.deltas) pairs[delta.parameter].first = &delta;
  for (const ParameterDelta& delta : b.deltas) pairs[delta.parameter].second = &delta;
  std::vector<ParameterOverlap> all;
  for (const auto& [parameter, pair] : pairs) {
    all.push_back(
        {parameter, OverlapOf(EntriesOf(pair.first, a.scale), EntriesOf(pair.second, b.scale),
                              IsDelta(pair.first) && IsDelta(pair.second))});
  }
  return all;
}

}  // namespace shira::tools
