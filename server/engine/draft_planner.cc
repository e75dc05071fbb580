#include "server/engine/draft_planner.h"

#include <algorithm>
#include <cstddef>

namespace shira {
namespace {

// One token of an offer.
struct Candidate {
  size_t offer = 0;
  double chance = 0.0;  // that it, and all before it, are right
};

// The likeliest first. A token never comes before those that it follows.
std::vector<Candidate> CandidatesOf(const DraftSnapshot& snapshot) {
  std::vector<Candidate> candidates;
  for (size_t i = 0; i < snapshot.offers.size(); ++i) {
    double chance = 1.0;
    for (int64_t token = 0; token < std::min(snapshot.offers[i].tokens, kMostDraftTokens);
         ++token) {
      chance *= snapshot.offers[i].acceptance;
      candidates.push_back({i, chance});
    }
  }
  std::stable_sort(candidates.begin(), candidates.end(),
                   [](const Candidate& a, const Candidate& b) { return a.chance > b.chance; });
  return candidates;
}

}  // namespace

std::vector<int64_t> PlanDrafts(const DraftSnapshot& snapshot, const StepCosts& costs) {
  const std::vector<Candidate> candidates = CandidatesOf(snapshot);
  const size_t most =
      std::min(candidates.size(),
               static_cast<size_t>(std::clamp<int64_t>(snapshot.room, 0, kMostStepDraftTokens)));
  const double before = costs.Seconds(snapshot.step);
  const auto rows = static_cast<double>(snapshot.step.decode_rows);
  // Whether somebody in the step has no draft, so that nothing makes up for a longer step.
  const bool has_others = snapshot.step.prefill_tokens > 0 ||
                          snapshot.step.decode_rows > static_cast<int64_t>(snapshot.offers.size());

  StepShape step = snapshot.step;
  std::vector<double> tokens(snapshot.offers.size(), 1.0);  // expected of each offer's answer
  double all_tokens = rows;
  size_t best = 0;
  double most_per_second = kLeastGain * rows / before;
  for (size_t i = 0; i < most; ++i) {
    const Candidate& candidate = candidates[i];
    ++step.decode_rows;
    if (snapshot.offers[candidate.offer].patched) ++step.patched_tokens;
    tokens[candidate.offer] += candidate.chance;
    all_tokens += candidate.chance;
    const double seconds = costs.Seconds(step);
    const double slowest = has_others ? 1.0 : *std::min_element(tokens.begin(), tokens.end());
    if (slowest * before < kLeastPace * seconds) continue;
    if (all_tokens / seconds <= most_per_second) continue;
    most_per_second = all_tokens / seconds;
    best = i + 1;
  }
  std::vector<int64_t> plan(snapshot.offers.size(), 0);
  for (size_t i = 0; i < best; ++i) ++plan[candidates[i].offer];
  return plan;
}

}  // namespace shira
