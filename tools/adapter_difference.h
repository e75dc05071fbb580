// File: tools/adapter_difference.h
//
// The comparison of two adapters: common positions, conflicting signs, cosine similarity.

#ifndef SHIRA_TOOLS_ADAPTER_DIFFERENCE_H_
#define SHIRA_TOOLS_ADAPTER_DIFFERENCE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "adapters/sparse_adapter.h"

namespace shira::tools {

// Of one parameter, or of several added up. Values are those of the file times the adapter's scale;
// where a parameter's values are replacements in one of the two, only its positions are compared.
struct Overlap {
  int64_t entries_a = 0;
  int64_t entries_b = 0;
  int64_t common = 0;          // positions in both
  int64_t equal = 0;           // of those, with equal values
  int64_t sign_conflicts = 0;  // of those, with values of opposite signs
  double squares_a = 0;        // sums of squares
  double squares_b = 0;
  double product = 0;  // sum of a * b

  void Add(const Overlap& other);
  // Common positions over all positions.
  double jaccard() const;
  // Of the two as vectors; 0 where one of them is zero.
  double cosine() const;
};

struct ParameterOverlap {
  std::string parameter;
  Overlap overlap;
};

// Every parameter of either, by name. REQUIRES: equal shapes where both have a parameter.
std::vector<ParameterOverlap> Compare(const SparseAdapter& a, const SparseAdapter& b);

}  // namespace shira::tools

#endif  // SHIRA_TOOLS_ADAPTER_DIFFERENCE_H_
