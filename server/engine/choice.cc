#include "server/engine/choice.h"

#include <algorithm>
#include <utility>

#include "base/status_macros.h"

namespace shira {
namespace {

SamplingParams WithSeedOf(SamplingParams params, int32_t index) {
  params.seed += static_cast<uint64_t>(index);  // wraps around, as documented
  return params;
}

}  // namespace

Choice::Choice(const GenerationRequest& request, int32_t index, int64_t max_tokens,
               int32_t vocab_size)
    : index_(index),
      prompt_tokens_(static_cast<int64_t>(request.prompt.size())),
      max_tokens_(max_tokens),
      sampler_(WithSeedOf(request.sampling, index), vocab_size, request.prompt),
      tokens_(request.prompt) {}

BatchRow Choice::NextRow(int64_t tokens, const CompiledState& state) const {
  return {.cache = cache_.get(),
          .tokens = absl::MakeConstSpan(tokens_).subspan(stored_tokens_, tokens),
          .wants_logits = tokens == pending_tokens(),
          .state = &state};
}

absl::StatusOr<bool> Choice::Continue(const GenerationRequest& request,
                                      absl::Span<const float> logits) {
  SHIRA_ASSIGN_OR_RETURN(const int32_t token, sampler_.Sample(logits));
  const auto& stop_tokens = request.stop_tokens;
  ChoiceResult result;
  result.choice = index_;
  std::optional<FinishReason> reason;
  const bool stop = std::find(stop_tokens.begin(), stop_tokens.end(), token) != stop_tokens.end();
  if (stop) {
    reason = FinishReason::kStop;
    result.stop_token = token;
  } else {
    reason = Append(request, token, logits);
  }
  if (reason.has_value()) {
    result.reason = *reason;
    result.completion_tokens = generated_tokens();
    result_ = result;
    request.observer->OnChoiceEnd(result);
  }
  return !stop;
}

std::optional<FinishReason> Choice::Append(const GenerationRequest& request, int32_t token,
                                           absl::Span<const float> logits) {
  tokens_.push_back(token);
  GeneratedToken generated{.choice = index_, .token = token, .logprobs = std::nullopt};
  if (request.top_logprobs.has_value()) {
    generated.logprobs = ComputeLogprobs(logits, token, *request.top_logprobs);
  }
  if (request.observer->OnToken(generated) == GenerationObserver::Verdict::kStop) {
    return FinishReason::kStop;
  }
  if (tokens_to_come() == 0) return FinishReason::kLength;
  return std::nullopt;
}

}  // namespace shira
