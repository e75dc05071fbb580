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
    : params_(params), random_(params.seed) {
  if (params_.repetition_penalty != 1.0f) {
    is_seen_.resize(vocab_size, false);
    for (const int32_t token : prompt) Remember(token);
  }
  if (params_.presence_penalty != 0.0f || params_.frequency_penalty != 0.0f) {
    answer_position_.resize(vocab_size, -1);
  }
}

int32_t Sampler::Sample(absl::Span<const float> logits) {
  const absl::Span<const float> scores = Scores(logits);
  const int32_t token = params_.greedy() ? BestToken(scores) : Draw(scores);
  if (!is_seen_.empty()) Remember(token);
  if (!answer_position_.empty()) Count(token);
  return token;
}

absl::Span<const float> Sampler::Scores(absl::Span<const float> logits) {
  if (params_.logit_bias.empty() && is_seen_.empty() && answer_position_.empty()) return logits;
  scores_.assign(logits.begin(), logits.end());
  const absl::Span<float> scores = absl::MakeSpan(scores_);
  AddBias(params_.logit_bias, scores);
  PenaliseRepetition(params_.repetition_penalty, seen_, scores);
  PenalisePresence(params_.presence_penalty, params_.frequency_penalty, answer_, scores);
  return scores;
}

void Sampler::Count(int32_t token) {
  int32_t& position = answer_position_[token];
  if (position < 0) {
    position = static_cast<int32_t>(answer_.size());
    answer_.push_back({token, 0});
  }
  ++answer_[position].count;
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
