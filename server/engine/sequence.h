// File: server/engine/sequence.h
//
// One generation on its way through the engine: its tokens, how many of them the KV memory holds,
// when it has to end, and its times.

#ifndef SHIRA_SERVER_ENGINE_SEQUENCE_H_
#define SHIRA_SERVER_ENGINE_SEQUENCE_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "server/engine/generation.h"
#include "server/engine/model_executor.h"
#include "server/engine/scheduler_policy.h"
#include "server/sampling/sampler.h"

namespace shira {

// Thread-compatible: made by the submitting thread, then used by the engine's.
class Sequence {
 public:
  // OK, or INVALID_ARGUMENT with what is wrong with a request for this model: no state, observer,
  // prompt or max_tokens, a token id beyond the vocabulary, bad sampling parameters, or a prompt
  // that with one more token does not fit the context.
  static absl::Status Check(const GenerationRequest& request, int32_t vocab_size,
                            int64_t context_length);

  // REQUIRES: Check() was OK with the same arguments.
  Sequence(SequenceId id, GenerationRequest request, int32_t vocab_size, int64_t context_length,
           absl::Time now);

  SequenceId id() const { return id_; }
  const StateHandle& state() const { return request_.state; }
  const std::shared_ptr<CancellationToken>& cancellation() const { return cancellation_; }
  bool Uses(const Sha256Digest& adapter) const;
  SequenceView View(absl::Time now) const;

  // CANCELLED or DEADLINE_EXCEEDED when it has to end now.
  absl::Status Interruption(absl::Time now) const;

  // Most tokens that it will have in KV memory.
  int64_t kv_tokens() const { return prompt_tokens_ + max_tokens_; }
  void Admit(std::unique_ptr<SequenceCache> cache, absl::Time now);

  // The row of a step with the next `tokens` pending tokens; valid until FinishStep(). REQUIRES:
  // admitted; 0 < tokens <= View().pending_tokens.
  BatchRow NextRow(int64_t tokens);

  struct StepTimes {
    absl::Time start;          // before the switch
    absl::Duration switching;  // zero without one
    absl::Time end;
  };
  struct StepOutcome {
    int64_t prompt_tokens = 0;               // that were stored
    bool token_emitted = false;              // to the observer
    std::optional<GenerationResult> result;  // when the generation is over
  };
  // Books a step that was run with NextRow(tokens). If that row wanted logits ([vocab_size]),
  // samples from them and hands the token to the observer.
  StepOutcome FinishStep(int64_t tokens, absl::Span<const float> logits, const StepTimes& times);

  // The last event: frees KV memory, unpins the adapters, and then tells the observer, who may
  // thus unload them. Nothing may be called after it.
  void End(std::variant<GenerationResult, absl::Status> outcome);

 private:
  bool prefill() const { return stored_tokens_ < prompt_tokens_; }
  void BookTimes(const StepTimes& times);
  // What the generation has come to with one more token.
  std::optional<GenerationResult> Emit(int32_t token, absl::Span<const float> logits,
                                       bool& emitted);
  GenerationResult Result(FinishReason reason) const;

  const SequenceId id_;
  GenerationRequest request_;
  const std::shared_ptr<CancellationToken> cancellation_ = std::make_shared<CancellationToken>();
  const int64_t prompt_tokens_;
  const int64_t max_tokens_;  // what the context has room for, at most
  const absl::Time submitted_;

  std::unique_ptr<SequenceCache> cache_;
  Sampler sampler_;
  std::vector<int32_t> tokens_;  // the prompt, then what was generated
  int64_t stored_tokens_ = 0;    // the first ones, in the cache

  absl::Time waiting_since_;
  absl::Time phase_start_;  // of prefill or decode, moved on by the switches in between
  bool stepped_ = false;
  GenerationTimings timings_;
};

}  // namespace shira

#endif  // SHIRA_SERVER_ENGINE_SEQUENCE_H_
