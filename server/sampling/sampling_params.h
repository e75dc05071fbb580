// File: server/sampling/sampling_params.h
//
// How the next token of one request is chosen.

#ifndef SHIRA_SERVER_SAMPLING_SAMPLING_PARAMS_H_
#define SHIRA_SERVER_SAMPLING_SAMPLING_PARAMS_H_

#include <cstdint>

#include "absl/status/status.h"

namespace shira {

struct SamplingParams {
  float temperature = 0.0f;         // 0: greedy; ties go to the smaller id
  int32_t top_k = 0;                // 0: all
  float top_p = 1.0f;               // (0, 1]; 1: all
  float min_p = 0.0f;               // [0, 1]; 0: all
  float repetition_penalty = 1.0f;  // > 0; 1: none (arXiv 1909.05858, over prompt and answer)
  uint64_t seed = 0;

  bool greedy() const { return temperature == 0.0f; }

  // INVALID_ARGUMENT that lists every value out of its range, NaN included.
  absl::Status Validate() const;
};

}  // namespace shira

#endif  // SHIRA_SERVER_SAMPLING_SAMPLING_PARAMS_H_
