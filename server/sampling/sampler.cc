#include "server/sampling/sampler.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>
#include <numeric>

namespace shira {
namespace {

// In [0, 1), from the generator's bits alone: the standard library's distributions differ between
// implementations.
double Uniform(std::mt19937_64& random) { return static_cast<double>(random() >> 11) * 0x1p-53; }

}  // namespace

Sampler::Sampler(const SamplingParams& params, int32_t vocab_size, absl::Span<const int32_t> prompt)
    : params_(params), is_seen_(vocab_size, false), random_(params.seed) {
  for (const int32_t token : prompt) Remember(token);
}

int32_t Sampler::Sample(absl::Span<const float> logits) {
  absl::Span<const float> scores = logits;
  if (params_.repetition_penalty != 1.0f) {
    scores_.assign(logits.begin(), logits.end());
    PenaliseRepetition(params_.repetition_penalty, seen_, absl::MakeSpan(scores_));
    scores = scores_;
  }
  const int32_t token = params_.greedy() ? BestToken(scores) : Draw(scores);
  Remember(token);
  return token;
}

void Sampler::Remember(int32_t token) {
  if (is_seen_[token]) return;
  is_seen_[token] = true;
  seen_.push_back(token);
}

int32_t Sampler::Draw(absl::Span<const float> scores) {
  // One number per token whatever the logits are, so that a token's draw depends on its position
  // alone.
  const double uniform = Uniform(random_);
  SelectCandidates(params_, scores, candidates_);
  if (candidates_.empty()) return BestToken(scores);

  CandidateWeights(candidates_, weights_);
  double left = uniform * std::accumulate(weights_.begin(), weights_.end(), 0.0);
  size_t last_possible = 0;
  for (size_t i = 0; i < weights_.size(); ++i) {
    if (weights_[i] == 0.0) continue;
    last_possible = i;
    left -= weights_[i];
    if (left < 0.0) break;
  }
  return candidates_[last_possible].token;
}

Logprobs ComputeLogprobs(absl::Span<const float> logits, int32_t token, int32_t top) {
  constexpr float kImpossible = -std::numeric_limits<float>::infinity();
  const auto logit = [logits](int32_t id) {
    return std::isnan(logits[id]) ? kImpossible : logits[id];
  };
  const int32_t vocab_size = static_cast<int32_t>(logits.size());
  const float best = logit(BestToken(logits));
  double total = 0.0;
  for (int32_t id = 0; id < vocab_size; ++id) {
    // An infinite best shares all the probability among its equals.
    total += logit(id) == best ? 1.0 : std::exp(logit(id) - best);
  }
  const double log_total = std::log(total);
  const auto logprob = [&](int32_t id) -> TokenProbability {
    if (logit(id) == kImpossible) return {id, kImpossible};
    const double distance =
        logit(id) == best ? 0.0 : static_cast<double>(logit(id)) - static_cast<double>(best);
    return {id, static_cast<float>(distance - log_total)};
  };

  Logprobs result{.chosen = logprob(token), .top = {}};
  if (top <= 0) return result;
  std::vector<int32_t> ids(vocab_size);
  std::iota(ids.begin(), ids.end(), 0);
  const auto end = ids.begin() + std::min(top, vocab_size);
  std::partial_sort(ids.begin(), end, ids.end(), [&](int32_t a, int32_t b) {
    return logit(a) != logit(b) ? logit(a) > logit(b) : a < b;
  });
  result.top.reserve(end - ids.begin());
  std::transform(ids.begin(), end, std::back_inserter(result.top), logprob);
  return result;
}

}  // namespace shira
