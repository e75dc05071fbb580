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
      tokens_(request.prompt) {
  if (request.speculate.value_or(false)) drafts_.emplace(prompt_tokens_ + max_tokens_);
}

BatchRow Choice::NextRow(int64_t tokens, const CompiledState& state) const {
  return {.cache = cache_.get(),
          .tokens = absl::MakeConstSpan(tokens_).subspan(stored_tokens_, tokens),
          .wants_logits = tokens == pending_tokens(),
          .state = &state};
}

DraftOffer Choice::OfferDraft() {
  if (!drafts_.has_value()) return {};
  // The last token that may come is never run.
  const int64_t most = std::min(tokens_to_come(), cache_->room()) - 1;
  return drafts_->Offer(tokens_, std::min(most, kMostDraftTokens));
}

BatchRow Choice::DraftRow(int64_t count, const CompiledState& state) {
  drafts_->Run(count);
  return {.cache = cache_.get(),
          .tokens = drafts_->chunk(),
          .wants_logits = true,
          .state = &state,
          .drafted = count};
}

absl::StatusOr<Choice::Progress> Choice::Continue(const GenerationRequest& request,
                                                  absl::Span<const float> logits,
                                                  absl::FunctionRef<bool()> is_interrupted) {
  Progress progress;
  progress.drafts.drafted = drafted_tokens();
  const size_t vocab_size = logits.size() / (1 + progress.drafts.drafted);
  for (int64_t place = 0;; ++place) {
    SHIRA_ASSIGN_OR_RETURN(const int32_t token,
                           ChooseNext(request, logits.subspan(place * vocab_size, vocab_size)));
    const bool is_stop_token = ended() && result_->stop_token.has_value();
    progress.emitted_tokens += is_stop_token ? 0 : 1;
    const bool goes_on = drafts_.has_value() && drafts_->Confirm(place, token);
    if (!goes_on || ended() || is_interrupted()) break;
    ++progress.drafts.accepted;
    ++stored_tokens_;
  }
  if (progress.drafts.accepted > 0) cache_->Accept(progress.drafts.accepted);
  if (drafts_.has_value()) drafts_->End();
  return progress;
}

absl::StatusOr<int32_t> Choice::ChooseNext(const GenerationRequest& request,
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
  return token;
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
