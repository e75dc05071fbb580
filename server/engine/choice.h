// File: server/engine/choice.h
//
// One answer of a generation: its tokens, its KV memory, its sampler.

#ifndef SHIRA_SERVER_ENGINE_CHOICE_H_
#define SHIRA_SERVER_ENGINE_CHOICE_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "server/engine/answer_drafts.h"
#include "server/engine/generation.h"
#include "server/executor/model_executor.h"
#include "server/sampling/sampler.h"

namespace shira {

// Thread-compatible.
class Choice {
 public:
  // Answer `index` of `request`, with at most `max_tokens` new tokens. REQUIRES: the request was
  // found good (Sequence::Check).
  Choice(const GenerationRequest& request, int32_t index, int64_t max_tokens, int32_t vocab_size);

  // Prompt and answer.
  absl::Span<const int32_t> tokens() const { return tokens_; }
  int64_t generated_tokens() const { return Size() - prompt_tokens_; }
  int64_t tokens_to_come() const { return max_tokens_ - generated_tokens(); }
  // The first ones, in KV memory.
  int64_t stored_tokens() const { return stored_tokens_; }
  int64_t pending_tokens() const { return Size() - stored_tokens_; }
  bool ended() const { return result_.has_value(); }
  // REQUIRES: ended().
  const ChoiceResult& result() const { return *result_; }

  // Null until the generation is admitted, and again when it was released.
  std::unique_ptr<SequenceCache>& cache() { return cache_; }
  const std::unique_ptr<SequenceCache>& cache() const { return cache_; }
  // The first `tokens` are in the cache now.
  void SetStored(int64_t tokens) { stored_tokens_ = tokens; }

  // The next `tokens` pending ones. REQUIRES: it has a cache; 0 < tokens <= pending_tokens().
  BatchRow NextRow(int64_t tokens, const CompiledState& state) const;

  // A draft of what may follow the pending token; none where the request is not to speculate or
  // nothing may follow. REQUIRES: !ended(); one token pends, and it has a cache.
  DraftOffer OfferDraft();
  // NextRow(1) with the first `count` (> 0) drafted tokens behind it. Valid until Continue().
  // REQUIRES: OfferDraft() gave as many.
  BatchRow DraftRow(int64_t count, const CompiledState& state);
  // Tokens that the next row has behind the pending one.
  int64_t drafted_tokens() const { return drafts_.has_value() ? drafts_->running() : 0; }

  struct Progress {
    int64_t emitted_tokens = 0;  // to the observer
    DraftCounts drafts;
  };
  // Chooses the next token by `logits`, [1 + drafted_tokens()][vocab_size], and, as long as a chosen
  // token is the drafted one, the next one by the logits that follow it: each as if it were the only
  // one of its step. Hands them to the request's observer, as well as the answer's end if this is it.
  // Stops between two tokens when `is_interrupted` says so. DATA_LOSS for logits that are not finite:
  // the observer does not get that token. REQUIRES: !ended(); nothing pends but for what the logits
  // follow.
  absl::StatusOr<Progress> Continue(const GenerationRequest& request,
                                    absl::Span<const float> logits,
                                    absl::FunctionRef<bool()> is_interrupted);

 private:
  int64_t Size() const { return static_cast<int64_t>(tokens_.size()); }
  // The token that is chosen by `logits`, [vocab_size], and where it leaves the answer.
  absl::StatusOr<int32_t> ChooseNext(const GenerationRequest& request,
                                     absl::Span<const float> logits);
  // What the answer comes to with one more token.
  std::optional<FinishReason> Append(const GenerationRequest& request, int32_t token,
                                     absl::Span<const float> logits);

  const int32_t index_;
  const int64_t prompt_tokens_;
  const int64_t max_tokens_;
  Sampler sampler_;
  std::optional<AnswerDrafts> drafts_;  // where the request is to speculate
  std::vector<int32_t> tokens_;
  std::unique_ptr<SequenceCache> cache_;
  int64_t stored_tokens_ = 0;
  std::optional<ChoiceResult> result_;
};

}  // namespace shira

#endif  // SHIRA_SERVER_ENGINE_CHOICE_H_
