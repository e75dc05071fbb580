// File: server/sampling/sampler.h
//
// Chooses tokens for one request from the model's logits.

#ifndef SHIRA_SERVER_SAMPLING_SAMPLER_H_
#define SHIRA_SERVER_SAMPLING_SAMPLER_H_

#include <cstdint>
#include <random>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "server/sampling/candidates.h"
#include "server/sampling/sampling_params.h"

namespace shira {

struct TokenProbability {
  int32_t token = 0;
  float logprob = 0.0f;  // natural logarithm, of the model's own distribution
};

// One request's sampler. Thread-compatible. The same seed, prompt and sequence of logits give the
// same tokens, on every processor with fused multiply-add and whatever other requests run.
class Sampler {
 public:
  // `prompt` counts for the repetition penalty. REQUIRES: params.Validate() is OK; vocab_size > 0;
  // prompt ids are within it.
  Sampler(const SamplingParams& params, int32_t vocab_size, absl::Span<const int32_t> prompt);

  // The next token; remembers it for the penalties. Order, as in transformers, and in vLLM for what
  // transformers has not: logit bias, repetition penalty, frequency and presence penalty,
  // temperature, top-k, top-p, min-p, draw. `logits` is [vocab_size]. DATA_LOSS when they are no
  // distribution: one is NaN, or the largest is infinite, either way. (-infinity beside finite ones
  // is a token that cannot be.)
  absl::StatusOr<int32_t> Sample(absl::Span<const float> logits);

 private:
  bool changes_scores() const {
    return !params_.logit_bias.empty() || !is_seen_.empty() || !answer_position_.empty();
  }
  // The logits after bias and penalties. REQUIRES: changes_scores().
  absl::Span<const float> Scores(absl::Span<const float> logits);
  void Remember(int32_t token);
  void Count(int32_t token);
  int32_t Draw(absl::Span<const float> scores);
  // The candidate that `uniform`, in [0, 1), falls on. REQUIRES: there are candidates.
  int32_t CandidateAt(double uniform);

  SamplingParams params_;
  std::vector<bool> is_seen_;             // [vocab_size]; empty if there is no repetition penalty
  std::vector<int32_t> seen_;             // the ids for which it is true
  std::vector<TokenCount> answer_;        // each token once
  std::vector<int32_t> answer_position_;  // [vocab_size], in answer_, or -1; empty if not penalised
  std::mt19937_64 random_;
  // Scratch, kept to avoid an allocation per token.
  std::vector<float> scores_;
  Candidates candidates_;
  std::vector<float> weights_;
  std::vector<double> block_sums_;
};

// The logprob of `token` and the `top` most probable tokens, best first, under softmax(logits).
// NaN logits count as -infinity. REQUIRES: token is within logits; top >= 0 (more than there are
// tokens: all).
struct Logprobs {
  TokenProbability chosen;
  std::vector<TokenProbability> top;
};
Logprobs ComputeLogprobs(absl::Span<const float> logits, int32_t token, int32_t top);

}  // namespace shira

#endif  // SHIRA_SERVER_SAMPLING_SAMPLER_H_
