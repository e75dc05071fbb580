#include "server/sampling/sampler.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>
#include <numeric>

#include "base/strings.h"
#include "server/sampling/score_scan.h"

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

absl::StatusOr<int32_t> Sampler::Sample(absl::Span<const float> logits) {
  const ScoreExtremes extremes = ExtremesOf(logits);
  if (extremes.has_nan || !std::isfinite(extremes.largest)) {
    return absl::DataLossError(
        StrCat("the model's logits are not finite (",
               extremes.has_nan          ? "NaN"
               : extremes.largest > 0.0f ? "infinity"
                                         : "nothing but -infinity",
               "): the weights, an adapter's or the base's, are too large for their type, or "
               "damaged"));
  }
  int32_t token = 0;
  if (!params_.greedy()) {
    token = Draw(changes_scores() ? Scores(logits) : logits);
  } else if (changes_scores()) {
    token = BestToken(Scores(logits));
  } else {
    token = FirstPlaceOf(extremes.largest, logits);
  }
  if (!is_seen_.empty()) Remember(token);
  if (!answer_position_.empty()) Count(token);
  return token;
}

absl::Span<const float> Sampler::Scores(absl::Span<const float> logits) {
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
  if (candidates_.tokens.empty()) return BestToken(scores);
  return CandidateAt(uniform);
}

int32_t Sampler::CandidateAt(double uniform) {
  Weigh(LargestScore(candidates_.scores), candidates_.scores, weights_, block_sums_);
  double left = uniform * std::accumulate(block_sums_.begin(), block_sums_.end(), 0.0);
  size_t block = 0;
  for (size_t i = 0; i < block_sums_.size(); ++i) {
    if (block_sums_[i] == 0.0) continue;
    block = i;
    if (left < block_sums_[i]) break;
    left -= block_sums_[i];
  }
  // Behind the last block after all, by rounding: its last one.
  if (left >= block_sums_[block]) left = block_sums_[block];
  size_t last_possible = block * kWeightBlock;
  for (size_t i = last_possible; i < std::min(weights_.size(), (block + 1) * kWeightBlock); ++i) {
    if (weights_[i] == 0.0f) continue;
    last_possible = i;
    left -= weights_[i];
    if (left < 0.0) break;
  }
  return candidates_.tokens[last_possible];
}

Logprobs ComputeLogprobs(absl::Span<const float> logits, int32_t token, int32_t top) {
  constexpr float kImpossible = -std::numeric_limits<float>::infinity();
  const auto logit = [logits](int32_t id) {
    return std::isnan(logits[id]) ? kImpossible : logits[id];
  };
  const float best = LargestScore(logits);
  // An infinite best shares all the probability among its equals.
  const double total = std::isfinite(best)
                           ? SumOfWeights(best, 1.0f, logits)
                           : static_cast<double>(std::count(logits.begin(), logits.end(), best));
  const double log_total = std::log(total);
  const auto logprob = [&](int32_t id) -> TokenProbability {
    if (logit(id) == kImpossible) return {id, kImpossible};
    const double distance =
        logit(id) == best ? 0.0 : static_cast<double>(logit(id)) - static_cast<double>(best);
    return {id, static_cast<float>(distance - log_total)};
  };

  Logprobs result{.chosen = logprob(token), .top = {}};
  if (top <= 0) return result;
  const std::vector<int32_t> ids = BestTokens(std::min<size_t>(top, logits.size()), logits);
  std::transform(ids.begin(), ids.end(), std::back_inserter(result.top), logprob);
  return result;
}

}  // namespace shira
