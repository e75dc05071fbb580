// File: adapters/switch/fusion_rule.h
//
// How several adapters become one: the rules, their options, and the digest of what they make.
//
// A rule has two steps. First every operand may be thinned by itself, parameter by parameter. Then
// what is left of the operands is combined, element by element.
//
//   rule       thinning   combination
//   sum        none       weighted sum (what the SHiRA paper does)
//   ties       largest    TIES: mean of those that agree with the elected sign
//   dare       random     weighted sum
//   dare_ties  random     TIES
//   max        none       the weighted delta of the largest magnitude
//   pruned     largest    weighted sum
//
// The arithmetic is written in fusion_blend.h, the thinning in fusion_thinning.h.

#ifndef SHIRA_ADAPTERS_SWITCH_FUSION_RULE_H_
#define SHIRA_ADAPTERS_SWITCH_FUSION_RULE_H_

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "adapters/switch/state_key.h"
#include "base/sha256.h"

namespace shira {

enum class FusionRule { kSum, kTies, kDare, kDareTies, kMax, kPruned };

enum class FusionThinning { kNone, kLargest, kRandom };
enum class FusionCombination { kSum, kElectedMean, kLargest };

struct FusionRuleInfo {
  FusionRule rule;
  std::string_view name;  // as in the table above; part of the digest
  FusionThinning thinning;
  FusionCombination combination;
};

absl::Span<const FusionRuleInfo> FusionRules();
const FusionRuleInfo& InfoOf(FusionRule rule);

struct FusionOptions {
  FusionRule rule = FusionRule::kSum;
  // Of rules that thin: the fraction of an operand's entries in a parameter that is kept, in (0,
  // 1]. It is a fraction of the entries that the operand has, not of the parameter's elements.
  double density = 1.0;
  // Of rules that thin at random.
  uint64_t seed = 0;
};

// INVALID_ARGUMENT for a density outside of (0, 1], if the rule has one.
absl::Status ValidateFusionOptions(const FusionOptions& options);

// The identity of a blend: SHA-256 over the rule, those of the options that the rule uses, and the
// parts in the order of their digests. Equal blends have equal digests, in whatever order the parts
// are given. INVALID_ARGUMENT, as for a state, if a weight is not finite or an adapter occurs twice
// (give it one weight); or if there is no part.
absl::StatusOr<Sha256Digest> BlendDigest(const FusionOptions& options,
                                         std::vector<StateTerm> parts);

}  // namespace shira

#endif  // SHIRA_ADAPTERS_SWITCH_FUSION_RULE_H_
