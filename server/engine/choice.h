// File: server/engine/choice.h
//
// One answer of a generation: its tokens, its KV memory, its sampler.

#ifndef SHIRA_SERVER_ENGINE_CHOICE_H_
#define SHIRA_SERVER_ENGINE_CHOICE_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
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

  // Chooses the next token by `logits`, [vocab_size], and hands it to the request's observer, as
  // well as the answer's end if this is it. Whether the observer got a token. DATA_LOSS, and
  // the observer gets nothing, for logits that are not finite. REQUIRES: !ended(); nothing pends
  // but for what the logits follow.
  absl::StatusOr<bool> Continue(const GenerationRequest& request, absl::Span<const float> logits);

 private:
  int64_t Size() const { return static_cast<int64_t>(tokens_.size()); }
  // What the answer comes to with one more token.
  std::optional<FinishReason> Append(const GenerationRequest& request, int32_t token,
                                     absl::Span<const float> logits);

  const int32_t index_;
  const int64_t prompt_tokens_;
  const int64_t max_tokens_;
  Sampler sampler_;
  std::vector<int32_t> tokens_;
  std::unique_ptr<SequenceCache> cache_;
  int64_t stored_tokens_ = 0;
  std::optional<ChoiceResult> result_;
};

}  // namespace shira

#endif  // SHIRA_SERVER_ENGINE_CHOICE_H_
