#include "server/sampling/sampling_params.h"

#include <cmath>

#include "base/problem_list.h"

namespace shira {

absl::Status SamplingParams::Validate() const {
  ProblemList problems;
  // Written so that NaN fails each of them.
  if (!(temperature >= 0.0f && std::isfinite(temperature))) {
    problems.Add("temperature: expected 0 or more, found ", temperature);
  }
  if (!(top_k >= 0)) problems.Add("top_k: expected 0 (all) or more, found ", top_k);
  if (!(top_p > 0.0f && top_p <= 1.0f)) {
    problems.Add("top_p: expected more than 0 and at most 1, found ", top_p);
  }
  if (!(min_p >= 0.0f && min_p <= 1.0f)) problems.Add("min_p: expected 0 to 1, found ", min_p);
  if (!(repetition_penalty > 0.0f && std::isfinite(repetition_penalty))) {
    problems.Add("repetition_penalty: expected more than 0, found ", repetition_penalty);
  }
  return problems.ToStatus(absl::StatusCode::kInvalidArgument, "sampling parameters");
}

}  // namespace shira
