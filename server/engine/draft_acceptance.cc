#include "server/engine/draft_acceptance.h"

namespace shira {

size_t DraftAcceptance::ClassOf(int64_t match_length) {
  size_t found = 0;
  while (found + 1 < kClasses.size() && kClasses[found + 1] <= match_length) ++found;
  return found;
}

double DraftAcceptance::Of(int64_t match_length) const {
  const size_t found = ClassOf(match_length);
  const Estimate& estimate = estimates_[found];
  return (estimate.right + kPrior[found] * kPriorTokens) / (estimate.seen + kPriorTokens);
}

void DraftAcceptance::Observe(int64_t match_length, int64_t right, bool wrong) {
  Estimate& estimate = estimates_[ClassOf(match_length)];
  const int64_t seen = right + (wrong ? 1 : 0);
  for (int64_t i = 0; i < seen; ++i) {
    estimate.right = estimate.right * kMemory + (i < right ? 1.0 : 0.0);
    estimate.seen = estimate.seen * kMemory + 1.0;
  }
}

}  // namespace shira
