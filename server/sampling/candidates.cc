#include "server/sampling/candidates.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

namespace shira {
namespace {

// Ranks by score; of equal scores the larger id ranks higher, which is where transformers' stable
// ascending sort puts it.
bool RanksBelow(const Candidate& a, const Candidate& b) {
  return a.score != b.score ? a.score < b.score : a.token < b.token;
}

float BestScore(absl::Span<const Candidate> candidates) {
  float best = -std::numeric_limits<float>::infinity();
  for (const Candidate& candidate : candidates) best = std::max(best, candidate.score);
  return best;
}

// Keeps the k best, and whatever equals the last of them.
void KeepTopK(int32_t k, std::vector<Candidate>& candidates) {
  if (k <= 0 || k >= static_cast<int64_t>(candidates.size())) return;
  std::vector<float> scores(candidates.size());
  std::transform(candidates.begin(), candidates.end(), scores.begin(),
                 [](const Candidate& candidate) { return candidate.score; });
  std::nth_element(scores.begin(), scores.begin() + (k - 1), scores.end(), std::greater<>());
  const float threshold = scores[k - 1];
  std::erase_if(candidates,
                [threshold](const Candidate& candidate) { return candidate.score < threshold; });
}

// Keeps the fewest best whose probabilities reach p. A heap, because few are taken from it as a
// rule; the candidates come out best first.
void KeepTopP(float p, std::vector<Candidate>& candidates) {
  if (p >= 1.0f) return;
  const float best = BestScore(candidates);
  double total = 0.0;
  for (const Candidate& candidate : candidates) total += std::exp(candidate.score - best);

  std::make_heap(candidates.begin(), candidates.end(), RanksBelow);
  auto heap_end = candidates.end();
  double mass = 0.0;
  while (heap_end != candidates.begin() && mass < p * total) {
    std::pop_heap(candidates.begin(), heap_end, RanksBelow);
    --heap_end;
    mass += std::exp(heap_end->score - best);
  }
  candidates.erase(candidates.begin(), heap_end);
  std::reverse(candidates.begin(), candidates.end());
}

// Keeps those at least p times as probable as the best.
void KeepMinP(float p, std::vector<Candidate>& candidates) {
  if (p <= 0.0f) return;
  const float best = BestScore(candidates);
  std::erase_if(candidates, [p, best](const Candidate& candidate) {
    return std::exp(candidate.score - best) < p;
  });
}

}  // namespace

void PenaliseRepetition(float penalty, absl::Span<const int32_t> tokens, absl::Span<float> scores) {
  if (penalty == 1.0f) return;
  for (const int32_t token : tokens) {
    float& score = scores[token];
    score = score < 0.0f ? score * penalty : score / penalty;
  }
}

void AddBias(absl::Span<const std::pair<int32_t, float>> bias, absl::Span<float> scores) {
  for (const auto& [token, added] : bias) scores[token] += added;
}

void PenalisePresence(float presence, float frequency, absl::Span<const TokenCount> counts,
                      absl::Span<float> scores) {
  for (const auto& [token, count] : counts) {
    scores[token] -= presence + frequency * static_cast<float>(count);
  }
}

int32_t BestToken(absl::Span<const float> scores) {
  int32_t best = -1;
  for (size_t i = 0; i < scores.size(); ++i) {
    if (std::isnan(scores[i])) continue;
    if (best < 0 || scores[i] > scores[best]) best = static_cast<int32_t>(i);
  }
  return std::max(best, 0);
}

void SelectCandidates(const SamplingParams& params, absl::Span<const float> scores,
                      std::vector<Candidate>& candidates) {
  candidates.clear();
  const float best = scores[BestToken(scores)];
  if (!std::isfinite(best) || !std::isfinite(best / params.temperature)) return;

  candidates.reserve(scores.size());
  for (size_t i = 0; i < scores.size(); ++i) {
    const float score = scores[i] / params.temperature;
    // Neither NaN nor a token of probability zero can be drawn.
    if (score > -std::numeric_limits<float>::infinity()) {
      candidates.push_back({static_cast<int32_t>(i), score});
    }
  }
  KeepTopK(params.top_k, candidates);
  KeepTopP(params.top_p, candidates);
  KeepMinP(params.min_p, candidates);
}

void CandidateWeights(absl::Span<const Candidate> candidates, std::vector<double>& weights) {
  const float best = BestScore(candidates);
  weights.resize(candidates.size());
  std::transform(candidates.begin(), candidates.end(), weights.begin(),
                 [best](const Candidate& candidate) { return std::exp(candidate.score - best); });
}

}  // namespace shira
