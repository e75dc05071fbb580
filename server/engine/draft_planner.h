// File: server/engine/draft_planner.h
//
// How many tokens each answer of a step drafts, as a pure function of what the step is without them,
// of how likely they are right, and of what steps cost.
//
// A drafted token costs as much as one more decode row, and gives a token if it and those before it
// are right. Of all that could be drafted the likeliest are taken, as many as make the most tokens
// per second of the step. Nobody pays for others' drafts: no answer, and no prompt, of the step is
// expected to come forward less than kLeastPace times as fast as without any.

#ifndef SHIRA_SERVER_ENGINE_DRAFT_PLANNER_H_
#define SHIRA_SERVER_ENGINE_DRAFT_PLANNER_H_

#include <cstdint>
#include <vector>

#include "server/engine/step_costs.h"

namespace shira {

// Most tokens that one answer drafts in a step.
inline constexpr int64_t kMostDraftTokens = 15;
// Most tokens that all answers of a step draft: for each the model has a row of logits.
inline constexpr int64_t kMostStepDraftTokens = 32;
// What a draft has to be worth: times the tokens per second without it. Costs and chances are
// estimates.
inline constexpr double kLeastGain = 1.03;
inline constexpr double kLeastPace = 0.97;

// One answer's draft.
struct DraftOffer {
  int64_t tokens = 0;       // that could be drafted
  double acceptance = 0.0;  // of each, if those before it are right; in [0, 1)
  bool patched = false;     // its state is not the resident one
};

struct DraftSnapshot {
  StepShape step;                  // without drafts
  int64_t room = 0;                // tokens that the step may have more
  std::vector<DraftOffer> offers;  // by different decode rows of the step
};

// Tokens that each offer's answer drafts.
std::vector<int64_t> PlanDrafts(const DraftSnapshot& snapshot, const StepCosts& costs);

}  // namespace shira

#endif  // SHIRA_SERVER_ENGINE_DRAFT_PLANNER_H_
