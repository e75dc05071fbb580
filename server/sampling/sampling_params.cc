#include "server/sampling/sampling_params.h"

#include <cmath>
#include <set>
#include <string_view>

#include "base/problem_list.h"

namespace shira {

absl::Status SamplingParams::Validate(int32_t vocab_size) const {
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
  const auto check_penalty = [&](std::string_view name, float penalty) {
    if (!(penalty >= -2.0f && penalty <= 2.0f)) {
      problems.Add(name, ": expected -2 to 2, found ", penalty);
    }
  };
  check_penalty("presence_penalty", presence_penalty);
  check_penalty("frequency_penalty", frequency_penalty);
  std::set<int32_t> tokens;
  for (const auto& [token, bias] : logit_bias) {
    if (token < 0 || token >= vocab_size) {
      problems.Add("logit_bias: expected token ids within [0, ", vocab_size, "), found ", token);
    }
    if (!tokens.insert(token).second) problems.Add("logit_bias: token ", token, " occurs twice");
    if (!(bias >= -100.0f && bias <= 100.0f)) {
      problems.Add("logit_bias: expected -100 to 100, found ", bias, " for token ", token);
    }
  }
  return problems.ToStatus(absl::StatusCode::kInvalidArgument, "sampling parameters");
}

}  // namespace shira
