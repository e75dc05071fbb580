#include "adapters/switch/fusion_rule.h"

#include <bit>
#include <string>
#include <utility>

#include "base/status_macros.h"
#include "base/strings.h"

namespace shira {
namespace {

constexpr FusionRuleInfo kRules[] = {
    {FusionRule::kSum, "sum", FusionThinning::kNone, FusionCombination::kSum},
    {FusionRule::kTies, "ties", FusionThinning::kLargest, FusionCombination::kElectedMean},
    {FusionRule::kDare, "dare", FusionThinning::kRandom, FusionCombination::kSum},
    {FusionRule::kDareTies, "dare_ties", FusionThinning::kRandom, FusionCombination::kElectedMean},
    {FusionRule::kMax, "max", FusionThinning::kNone, FusionCombination::kLargest},
    {FusionRule::kPruned, "pruned", FusionThinning::kLargest, FusionCombination::kSum},
};

}  // namespace

absl::Span<const FusionRuleInfo> FusionRules() { return kRules; }

const FusionRuleInfo& InfoOf(FusionRule rule) {
  const FusionRuleInfo* found = kRules;
  while (found->rule != rule) ++found;
  return *found;
}

absl::Status ValidateFusionOptions(const FusionOptions& options) {
  const FusionRuleInfo& info = InfoOf(options.rule);
  if (info.thinning == FusionThinning::kNone) return absl::OkStatus();
  if (!(options.density > 0.0 && options.density <= 1.0)) {
    return absl::InvalidArgumentError(StrCat("density: expected above 0 and at most 1 for rule ",
                                             info.name, ", found ", options.density));
  }
  return absl::OkStatus();
}

absl::StatusOr<Sha256Digest> BlendDigest(const FusionOptions& options,
                                         std::vector<StateTerm> parts) {
  SHIRA_RETURN_IF_ERROR(ValidateFusionOptions(options));
  if (parts.empty()) return absl::InvalidArgumentError("a blend needs at least one part");
  // A state's key is what makes a weighted set canonical; a blend is a rule over such a set.
  SHIRA_ASSIGN_OR_RETURN(const StateKey set, StateKey::Create(std::move(parts)));
  const FusionRuleInfo& info = InfoOf(options.rule);
  Sha256 hash;
  hash.Update("shira blend 1\n").UpdateU64(info.name.size()).Update(info.name);
  if (info.thinning != FusionThinning::kNone) {
    hash.UpdateU64(std::bit_cast<uint64_t>(options.density));
  }
  if (info.thinning == FusionThinning::kRandom) hash.UpdateU64(options.seed);
  return hash.Update(set.digest().Hex()).Finish();
}

}  // namespace shira
