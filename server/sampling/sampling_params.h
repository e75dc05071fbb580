// File: server/sampling/sampling_params.h
//
// How the next token of one request is chosen.

#ifndef SHIRA_SERVER_SAMPLING_SAMPLING_PARAMS_H_
#define SHIRA_SERVER_SAMPLING_SAMPLING_PARAMS_H_

#include <cstdint>
#include <utility>
#include <vector>

#include "absl/status/status.h"

namespace shira {

struct SamplingParams {
  float temperature = 0.0f;         // 0: greedy; ties go to the smaller id
  int32_t top_k = 0;                // 0: all
  float top_p = 1.0f;               // (0, 1]; 1: all
  float min_p = 0.0f;               // [0, 1]; 0: all
  float repetition_penalty = 1.0f;  // > 0; 1: none (arXiv 1909.05858, over prompt and answer)
  // Subtracted from the logit of every token that the answer has: once, and once for each time.
  float presence_penalty = 0.0f;   // [-2, 2]
  float frequency_penalty = 0.0f;  // [-2, 2]
  // Added to the logits of these tokens: (token, [-100, 100]), no token twice.
  std::vector<std::pair<int32_t, float>> logit_bias = {};
  uint64_t seed = 0;

  bool greedy() const { return temperature == 0.0f; }

  // INVALID_ARGUMENT that lists every value out of its range, NaN included, and every biased token
  // that is not within the vocabulary.
  absl::Status Validate(int32_t vocab_size) const;
};

}  // namespace shira

#endif  // SHIRA_SERVER_SAMPLING_SAMPLING_PARAMS_H_
