// File: server/sampling/score_scan.h
//
// What sampling needs to know of a whole vocabulary, a vector of scores at a time: a token is
// sampled between two steps of the model, for every row in turn. NaN counts as -infinity.
//
// Sums are taken in sixteen lanes whatever the processor's vectors are, so that the results are the
// same on every processor that has fused multiply-add.

#ifndef SHIRA_SERVER_SAMPLING_SCORE_SCAN_H_
#define SHIRA_SERVER_SAMPLING_SCORE_SCAN_H_

#include <cstdint>
#include <vector>

#include "absl/types/span.h"

namespace shira {

struct ScoreExtremes {
  float largest = 0.0f;  // -infinity if there is none
  bool has_nan = false;
};
ScoreExtremes ExtremesOf(absl::Span<const float> scores);

// The largest score, -infinity if there is none.
inline float LargestScore(absl::Span<const float> scores) { return ExtremesOf(scores).largest; }

// Where `score` occurs first, or -1.
int32_t FirstPlaceOf(float score, absl::Span<const float> scores);

// Replaces tokens and kept by the places of the scores that, divided by `temperature`, are at least
// `least`, in order, and by these quotients. REQUIRES: temperature > 0, least > -infinity.
void KeepAtLeast(float least, float temperature, absl::Span<const float> scores,
                 std::vector<int32_t>& tokens, std::vector<float>& kept);

// The sum of exp(score / temperature - best). REQUIRES: temperature > 0; best is finite and at
// least the largest quotient.
double SumOfWeights(float best, float temperature, absl::Span<const float> scores);

// weights[i] = exp(scores[i] - best), [scores.size()], and the sum of every kWeightBlock of them.
// REQUIRES: as above, with a temperature of one.
inline constexpr int64_t kWeightBlock = 256;
void Weigh(float best, absl::Span<const float> scores, std::vector<float>& weights,
           std::vector<double>& block_sums);

}  // namespace shira

#endif  // SHIRA_SERVER_SAMPLING_SCORE_SCAN_H_
