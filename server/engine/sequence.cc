#include "server/engine/sequence.h"

#include <algorithm>
#include <utility>

#include "base/status_macros.h"
#include "base/strings.h"

namespace shira {

absl::Status Sequence::Check(const GenerationRequest& request, int32_t vocab_size,
                             int64_t context_length) {
  if (!request.state || request.observer == nullptr) {
    return absl::InvalidArgumentError("a generation needs a state and an observer");
  }
  if (request.prompt.empty()) return absl::InvalidArgumentError("the prompt has no tokens");
  if (request.max_tokens <= 0) {
    return absl::InvalidArgumentError(
        StrCat("max_tokens must be positive; it is ", request.max_tokens));
  }
  for (const int32_t token : request.prompt) {
    if (token < 0 || token >= vocab_size) {
      return absl::InvalidArgumentError(
          StrCat("the prompt has token ", token, ", but the vocabulary ends at ", vocab_size - 1));
    }
  }
  const int64_t prompt_tokens = static_cast<int64_t>(request.prompt.size());
  if (prompt_tokens + 1 > context_length) {
    return absl::InvalidArgumentError(StrCat("the prompt has ", prompt_tokens,
                                             " tokens, but with one generated token at most ",
                                             context_length, " fit the context: shorten it"));
  }
  if (request.top_logprobs.has_value() && *request.top_logprobs < 0) {
    return absl::InvalidArgumentError(
        StrCat("top_logprobs must not be negative; it is ", *request.top_logprobs));
  }
  return request.sampling.Validate();
}

Sequence::Sequence(SequenceId id, GenerationRequest request, int32_t vocab_size,
                   int64_t context_length, absl::Time now)
    : id_(id),
      request_(std::move(request)),
      prompt_tokens_(static_cast<int64_t>(request_.prompt.size())),
      max_tokens_(std::min(request_.max_tokens, context_length - prompt_tokens_)),
      submitted_(now),
      sampler_(request_.sampling, vocab_size, request_.prompt),
      tokens_(std::move(request_.prompt)),
      waiting_since_(now) {}

bool Sequence::Uses(const Sha256Digest& adapter) const {
  const auto& adapters = request_.state.adapters();
  return std::any_of(adapters.begin(), adapters.end(),
                     [&](const AdapterRef& ref) { return ref.digest == adapter; });
}

SequenceView Sequence::View(absl::Time now) const {
  return {.id = id_,
          .state = request_.state.state()->key.digest(),
          .prefill = prefill(),
          .pending_tokens = static_cast<int64_t>(tokens_.size()) - stored_tokens_,
          .waited = now - waiting_since_};
}

absl::Status Sequence::Interruption(absl::Time now) const {
  if (cancellation_->cancelled()) return absl::CancelledError("the generation was cancelled");
  if (now >= request_.deadline) {
    return absl::DeadlineExceededError(StrCat("the generation's deadline passed after ",
                                              static_cast<int64_t>(tokens_.size()) - prompt_tokens_,
                                              " tokens"));
  }
  return absl::OkStatus();
}

void Sequence::Admit(std::unique_ptr<SequenceCache> cache, absl::Time now) {
  cache_ = std::move(cache);
  waiting_since_ = now;
}

BatchRow Sequence::NextRow(int64_t tokens) {
  return {.cache = cache_.get(),
          .tokens = absl::MakeConstSpan(tokens_).subspan(stored_tokens_, tokens),
          .wants_logits = stored_tokens_ + tokens == static_cast<int64_t>(tokens_.size()),
          .state = request_.state.state().get()};
}

Sequence::StepOutcome Sequence::FinishStep(int64_t tokens, absl::Span<const float> logits,
                                           const StepTimes& times) {
  const bool was_prefill = prefill();
  BookTimes(times);
  stored_tokens_ += tokens;
  StepOutcome outcome;
  outcome.prompt_tokens = was_prefill ? tokens : 0;
  if (stored_tokens_ < static_cast<int64_t>(tokens_.size())) return outcome;
  if (was_prefill) phase_start_ = times.end;
  outcome.result = Emit(sampler_.Sample(logits), logits, outcome.token_emitted);
  return outcome;
}

void Sequence::BookTimes(const StepTimes& times) {
  if (!stepped_) {
    timings_.queue = times.start - submitted_;
    phase_start_ = times.start;
    stepped_ = true;
  }
  timings_.switching += times.switching;
  phase_start_ += times.switching;
  (prefill() ? timings_.prefill : timings_.decode) = times.end - phase_start_;
  waiting_since_ = times.end;
}

std::optional<GenerationResult> Sequence::Emit(int32_t token, absl::Span<const float> logits,
                                               bool& emitted) {
  const auto& stop_tokens = request_.stop_tokens;
  if (std::find(stop_tokens.begin(), stop_tokens.end(), token) != stop_tokens.end()) {
    GenerationResult result = Result(FinishReason::kStop);
    result.stop_token = token;
    return result;
  }
  tokens_.push_back(token);
  GeneratedToken generated;
  generated.token = token;
  if (request_.top_logprobs.has_value()) {
    generated.logprobs = ComputeLogprobs(logits, token, *request_.top_logprobs);
  }
  emitted = true;
  if (request_.observer->OnToken(generated) == GenerationObserver::Verdict::kStop) {
    return Result(FinishReason::kStop);
  }
  if (static_cast<int64_t>(tokens_.size()) == prompt_tokens_ + max_tokens_) {
    return Result(FinishReason::kLength);
  }
  return std::nullopt;
}

GenerationResult Sequence::Result(FinishReason reason) const {
  return {.reason = reason,
          .stop_token = std::nullopt,
          .completion_tokens = static_cast<int64_t>(tokens_.size()) - prompt_tokens_,
          .timings = timings_};
}

void Sequence::End(std::variant<GenerationResult, absl::Status> outcome) {
  cache_.reset();
  request_.state = StateHandle();
  if (const auto* result = std::get_if<GenerationResult>(&outcome)) {
    request_.observer->OnFinished(*result);
  } else {
    request_.observer->OnFailed(std::get<absl::Status>(outcome));
  }
}

}  // namespace shira
