// File: adapters/switch/fusion_blend.h
//
// Makes one adapter out of several, by a rule. Works on the entries that the operands have and
// never on whole matrices: O(entries) time and memory.
//
// With d(i) = scale(i) * value(i), operand i's delta at an element (0 where it has no entry or the
// entry was dropped), w(i) its weight, and the sums in the order of the operands' digests:
//
//   weighted sum   sum of w(i) * d(i)
//   largest        w(i) * d(i) of the largest magnitude; of equal ones, of the lowest digest
//   TIES           s = +1 if sum of d(i) >= 0, else -1: the elected sign, to which weights
//                  contribute nothing. Then the sum of w(i) * d(i) over the operands whose d(i) has
//                  sign s, divided by their number. An element where none has sign s is 0.
//   at random      d(i) is divided by `density` where it is kept
//
// This is peft/utils/merge_utils.py (task_arithmetic, ties with the "total" method, dare_linear,
// dare_ties, magnitude_prune) on the elements of the operands' union, but for the density, which
// counts an operand's own entries. All of it is computed in fp64 and rounded once to fp32, so the
// result does not depend on the order in which the operands are given.
//
// An operand of weight 0 takes part: it votes and counts in the mean of TIES (as in PEFT), and its
// positions belong to the result of the rules that do not thin. One operand alone is a rule's
// thinning of it, times the weight. Density 1 thins nothing and divides by 1.
//
// The result's positions: rules that do not thin have the union of the operands' positions (the
// table of an operand, if all are equal), zeros included. The others leave out every element whose
// value is 0, and a parameter that has no element left.

#ifndef SHIRA_ADAPTERS_SWITCH_FUSION_BLEND_H_
#define SHIRA_ADAPTERS_SWITCH_FUSION_BLEND_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "adapters/index_table.h"
#include "adapters/sparse_adapter.h"
#include "adapters/switch/fusion_rule.h"

namespace shira {

// SparseAdapter::format of a blend.
inline constexpr std::string_view kBlendFormat = "blend";

struct FusionOperand {
  std::string name;  // for errors
  std::shared_ptr<const SparseAdapter> adapter;
  double weight = 1.0;
};

// How much the operands met. All counts are of elements, and of the operands before thinning.
struct FusionOverlap {
  int64_t operand_entries = 0;  // the operands' entries, together
  int64_t union_entries = 0;    // touched by at least one operand
  int64_t shared_entries = 0;   // touched by at least two
  // Of the shared ones those where two weighted deltas w(i) * d(i) have opposite signs.
  int64_t sign_conflicts = 0;
  int64_t result_entries = 0;
  double operand_energy = 0.0;  // sum of (w(i) * d(i))^2 over all operands and their entries
  double result_energy = 0.0;   // sum of the squares of the result's values
  // result_energy / operand_energy: 1 where the operands do not meet and nothing is dropped, below
  // 1 by what is dropped or cancels; above 1 where weighted deltas of the same sign are added, or
  // kept ones scaled up. 1 when operand_energy is 0.
  double energy_kept() const { return operand_energy > 0.0 ? result_energy / operand_energy : 1.0; }
};

struct FusionReport {
  struct Parameter {
    std::string name;
    FusionOverlap overlap;
  };
  // Every parameter of an operand, by name; also those that the result does not touch.
  std::vector<Parameter> parameters;
  FusionOverlap total;
};

struct FusionResult {
  // Scale 1, format kBlendFormat, its digest BlendDigest(); base_model is the operands' if they
  // agree, else empty.
  std::shared_ptr<const SparseAdapter> adapter;
  FusionReport report;
};

// The result's tables are interned in `tables`.
//   INVALID_ARGUMENT     no operand, an operand that replaces weights instead of adding to them
//                        (names adapter and parameter), a weight that is not finite, the same
//                        digest twice, a density outside of (0, 1], a value beyond fp32's range
//                        (names parameter, row and column), or thinning that leaves no entry at all
//   FAILED_PRECONDITION  two operands have different shapes for a parameter
absl::StatusOr<FusionResult> Blend(const FusionOptions& options,
                                   std::vector<FusionOperand> operands, IndexTablePool& tables);

}  // namespace shira

#endif  // SHIRA_ADAPTERS_SWITCH_FUSION_BLEND_H_
