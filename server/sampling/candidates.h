// File: server/sampling/candidates.h
//
// Which tokens a draw may choose: the filters of transformers' generate(), with their thresholds
// and their treatment of ties. Pure functions.

#ifndef SHIRA_SERVER_SAMPLING_CANDIDATES_H_
#define SHIRA_SERVER_SAMPLING_CANDIDATES_H_

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "absl/types/span.h"
#include "server/sampling/sampling_params.h"

namespace shira {

// Tokens and their scores: the logits after penalty and temperature.
struct Candidates {
  std::vector<int32_t> tokens;
  std::vector<float> scores;

  size_t size() const { return tokens.size(); }
};

// Makes every listed token less likely (penalty > 1) or more likely (< 1): a negative score is
// multiplied, another divided. REQUIRES: tokens are distinct and within scores.
void PenaliseRepetition(float penalty, absl::Span<const int32_t> tokens, absl::Span<float> scores);

// Adds to the score of each listed token. REQUIRES: tokens are within scores.
void AddBias(absl::Span<const std::pair<int32_t, float>> bias, absl::Span<float> scores);

// A token and how often the answer has it.
struct TokenCount {
  int32_t token = 0;
  int32_t count = 0;
};

// Lowers each listed token by `presence` and by `frequency` times its count (raises it where they
// are negative). REQUIRES: tokens are distinct and within scores.
void PenalisePresence(float presence, float frequency, absl::Span<const TokenCount> counts,
                      absl::Span<float> scores);

// The largest score's token; of equal ones the smallest. NaN counts as lower than any number; 0
// when all are NaN. REQUIRES: scores is not empty.
int32_t BestToken(absl::Span<const float> scores);

// The `count` best tokens, best first; of equal ones the smaller first, NaN as -infinity. REQUIRES:
// count <= scores.size().
std::vector<int32_t> BestTokens(size_t count, absl::Span<const float> scores);

// The candidates among all tokens after temperature, top-k, top-p and min-p, in this order. top-k
// keeps every token that equals the last one kept. top-p keeps the fewest tokens that reach its
// mass: of equal scores at its edge those with the larger ids. transformers leaves that to a sort
// that is not stable above 16 elements (up to 16 it keeps the larger ids too), so there is nothing
// to equal; a fixed rule makes a seed give the same tokens whatever the machine. Empty
// when there is no distribution to draw from (the best score is infinite or NaN, before or after
// the division by the temperature): then the best token is the only choice. `candidates` is filled
// in an order that depends on `scores` and `params` alone. REQUIRES: params.temperature > 0.
void SelectCandidates(const SamplingParams& params, absl::Span<const float> scores,
                      Candidates& candidates);

}  // namespace shira

#endif  // SHIRA_SERVER_SAMPLING_CANDIDATES_H_
