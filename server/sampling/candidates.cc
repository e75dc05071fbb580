#include "server/sampling/candidates.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>
#include <tuple>

#include "server/sampling/score_scan.h"

namespace shira {
namespace {

constexpr float kLowest = std::numeric_limits<float>::lowest();

// The candidates are most often within so much of the best score: looking there first saves
// ordering the whole vocabulary.
constexpr float kLikelyDepth = 10.0f;

struct Ranked {
  float score;
  int32_t token;
};

// Of equal scores the larger id ranks higher (see SelectCandidates()).
bool RanksBelow(const Ranked& a, const Ranked& b) {
  return std::tie(a.score, a.token) < std::tie(b.score, b.token);
}

// Keeps what keep(score) says.
template <typename Keep>
void KeepIf(Keep keep, Candidates& candidates) {
  size_t kept = 0;
  for (size_t i = 0; i < candidates.size(); ++i) {
    if (!keep(candidates.scores[i])) continue;
    candidates.tokens[kept] = candidates.tokens[i];
    candidates.scores[kept++] = candidates.scores[i];
  }
  candidates.tokens.resize(kept);
  candidates.scores.resize(kept);
}

// Keeps the k best, and whatever equals the last of them.
void KeepTopK(int64_t k, Candidates& candidates) {
  if (k >= static_cast<int64_t>(candidates.size())) return;
  std::vector<float> scores = candidates.scores;
  std::nth_element(scores.begin(), scores.begin() + (k - 1), scores.end(), std::greater<>());
  const float threshold = scores[k - 1];
  KeepIf([threshold](float score) { return score >= threshold; }, candidates);
}

// Keeps the fewest best whose weights exp(score - best) reach `mass`, best first; says whether they
// do. A heap, because few are taken from it as a rule.
bool KeepMass(double mass, float best, Candidates& candidates) {
  std::vector<Ranked> heap(candidates.size());
  for (size_t i = 0; i < heap.size(); ++i) heap[i] = {candidates.scores[i], candidates.tokens[i]};
  std::make_heap(heap.begin(), heap.end(), RanksBelow);
  candidates.tokens.clear();
  candidates.scores.clear();
  double taken = 0.0;
  while (!heap.empty() && taken < mass) {
    std::pop_heap(heap.begin(), heap.end(), RanksBelow);
    taken += std::exp(heap.back().score - best);
    candidates.tokens.push_back(heap.back().token);
    candidates.scores.push_back(heap.back().score);
    heap.pop_back();
  }
  return taken >= mass;
}

// Selects among the tokens whose score is at least `least`. False if others may be candidates, too.
bool SelectAmong(float least, const SamplingParams& params, float best,
                 absl::Span<const float> scores, Candidates& candidates) {
  KeepAtLeast(least, params.temperature, scores, candidates.tokens, candidates.scores);
  bool complete = least == kLowest;
  bool all = true;  // no filter has removed any
  if (params.top_k > 0) {
    complete = complete || static_cast<int64_t>(candidates.size()) >= params.top_k;
    if (!complete) return false;
    KeepTopK(params.top_k, candidates);
    all = false;
  }
  if (params.top_p < 1.0f) {
    const double total = all ? SumOfWeights(best, params.temperature, scores)
                             : SumOfWeights(best, 1.0f, candidates.scores);
    complete = KeepMass(params.top_p * total, best, candidates) || complete;
  }
  if (params.min_p > 0.0f) {
    const auto probable = [&](float score) { return std::exp(score - best) >= params.min_p; };
    complete = complete || !probable(least);
    KeepIf(probable, candidates);
  }
  return complete;
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
  return std::max(FirstPlaceOf(LargestScore(scores), scores), 0);
}

std::vector<int32_t> BestTokens(size_t count, absl::Span<const float> scores) {
  std::vector<int32_t> tokens;
  std::vector<float> kept;
  const float best = LargestScore(scores);
  if (std::isfinite(best)) KeepAtLeast(best - kLikelyDepth, 1.0f, scores, tokens, kept);
  if (tokens.size() < count) {
    tokens.resize(scores.size());
    std::iota(tokens.begin(), tokens.end(), 0);
  }
  const auto score = [scores](int32_t token) {
    return std::isnan(scores[token]) ? -std::numeric_limits<float>::infinity() : scores[token];
  };
  std::partial_sort(
      tokens.begin(), tokens.begin() + count, tokens.end(),
      [&](int32_t a, int32_t b) { return std::tuple(-score(a), a) < std::tuple(-score(b), b); });
  tokens.resize(count);
  return tokens;
}

void SelectCandidates(const SamplingParams& params, absl::Span<const float> scores,
                      Candidates& candidates) {
  candidates.tokens.clear();
  candidates.scores.clear();
  const float largest = LargestScore(scores);
  const float best = largest / params.temperature;
  if (!std::isfinite(largest) || !std::isfinite(best)) return;
  const bool filters = params.top_k > 0 || params.top_p < 1.0f || params.min_p > 0.0f;
  if (filters && SelectAmong(best - kLikelyDepth, params, best, scores, candidates)) return;
  SelectAmong(kLowest, params, best, scores, candidates);
}

}  // namespace shira
