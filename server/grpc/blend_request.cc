#include "server/grpc/blend_request.h"

#include <algorithm>
#include <optional>

#include "base/status_macros.h"
#include "base/strings.h"
#include "server/generation/field_problems.h"
#include "server/grpc/request_conversion.h"

namespace shira {
namespace {

std::optional<FusionRule> FromProto(v1::FusionRule rule) {
  switch (rule) {
    case v1::FUSION_RULE_UNSPECIFIED:
    case v1::FUSION_RULE_SUM:
      return FusionRule::kSum;
    case v1::FUSION_RULE_TIES:
      return FusionRule::kTies;
    case v1::FUSION_RULE_DARE:
      return FusionRule::kDare;
    case v1::FUSION_RULE_DARE_TIES:
      return FusionRule::kDareTies;
    case v1::FUSION_RULE_MAX:
      return FusionRule::kMax;
    case v1::FUSION_RULE_PRUNED:
      return FusionRule::kPruned;
    default:
      return std::nullopt;
  }
}

}  // namespace

absl::StatusOr<BlendOptions> ParseBlendRequest(const v1::CreateBlendRequest& request,
                                               const RequestLimits& limits) {
  FieldProblems problems;
  BlendOptions options;
  options.parts = FromProto(request.parts());
  CheckSelection(limits, "parts", options.parts, problems);
  if (options.parts.empty()) problems.Add("parts", "must name at least one adapter besides 'base'");
  const std::optional<FusionRule> rule = FromProto(request.rule());
  if (!rule.has_value()) {
    problems.Add("rule", StrCat("is ", request.rule(), ", which is none of FusionRule"));
    return problems.ToStatus();
  }
  const FusionRuleInfo& info = InfoOf(*rule);
  const bool thins = info.thinning != FusionThinning::kNone;
  options.fusion.rule = *rule;
  if (request.has_density() != thins) {
    problems.Add("density", StrCat(thins ? "is missing: rule " : "is of no use: rule ", info.name,
                                   thins ? " needs one" : " drops nothing"));
  } else if (thins) {
    options.fusion.density = request.density();
    if (!ValidateFusionOptions(options.fusion).ok()) {
      problems.Add("density", StrCat("is ", request.density(), ", must be above 0 and at most 1"));
    }
  }
  if (request.has_seed() && info.thinning != FusionThinning::kRandom) {
    problems.Add("seed", StrCat("is of no use: rule ", info.name, " has nothing random"));
  }
  options.fusion.seed = request.seed();
  SHIRA_RETURN_IF_ERROR(problems.ToStatus());
  return options;
}

}  // namespace shira
