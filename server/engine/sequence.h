// File: server/engine/sequence.h
//
// One generation on its way through the engine: a prompt that is run once, the answers to it, when
// it has to end, and its times.

#ifndef SHIRA_SERVER_ENGINE_SEQUENCE_H_
#define SHIRA_SERVER_ENGINE_SEQUENCE_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "base/steady_clock.h"
#include "server/engine/choice.h"
#include "server/engine/generation.h"
#include "server/engine/kv_memory.h"
#include "server/engine/sequence_view.h"
#include "server/executor/model_executor.h"

namespace shira {

// Thread-compatible: made by the submitting thread, then used by the engine's.
class Sequence {
 public:
  // What a model and an engine allow.
  struct Limits {
    int32_t vocab_size = 0;
    int64_t max_sequence_tokens = 0;  // prompt and answer
    int64_t max_choices = 1;
  };

  // OK, or INVALID_ARGUMENT with what is wrong with a request for this model: no state, observer,
  // prompt or max_tokens, too many choices, a token id beyond the vocabulary, bad sampling
  // parameters, or a prompt that with one more token does not fit.
  static absl::Status Check(const GenerationRequest& request, const Limits& limits);

  // REQUIRES: Check() was OK with the same arguments.
  Sequence(SequenceId id, GenerationRequest request, const Limits& limits, SteadyTime now);

  SequenceId id() const { return id_; }
  const StateHandle& state() const { return request_.state; }
  // Whether its state is in memory, as far as it is known without holding it there.
  bool KnowsState() const { return request_.state.is_known(); }
  // From then on it is held there.
  bool FindState() { return request_.state.Find(); }
  void SetState(std::shared_ptr<const CompiledState> state) {
    request_.state.Set(std::move(state));
  }
  // REQUIRES: it has its state.
  const CompiledState& compiled_state() const { return *request_.state.state(); }
  const std::string& client() const { return request_.client; }
  const std::shared_ptr<CancellationToken>& cancellation() const { return cancellation_; }
  SteadyTime submitted() const { return submitted_; }
  bool Uses(const Sha256Digest& adapter) const;
  SequenceView View(SteadyTime now) const;
  // Answers that are not finished.
  int64_t rows() const;

  // Why it was cancelled, or DEADLINE_EXCEEDED, when it has to end now.
  absl::Status Interruption(SteadyTime now) const;

  // All the KV memory that it can come to need.
  KvMemory::Demand kv_demand() const;
  // REQUIRES: it has its state.
  void Admit(KvMemory::Reservation reservation, SteadyTime now);
  bool admitted() const { return admitted_; }
  // One that was submitted later was admitted first.
  void Bypass() { ++bypassed_; }

  // Adds the rows of a step: in prefill one with the next `tokens` pending tokens, then one for
  // each answer that is not finished. Valid until FinishStep(). REQUIRES: admitted; 0 < tokens <=
  // View().pending_tokens.
  void AddRows(int64_t tokens, std::vector<BatchRow>& rows) const;

  // What could be drafted behind each of these rows, of AddRows(); nothing in prefill.
  std::vector<DraftOffer> OfferDrafts();
  // Puts so many of the tokens that were offered behind each of the rows. REQUIRES: OfferDrafts() was
  // called for the same step.
  void AddDrafts(absl::Span<const int64_t> tokens, absl::Span<BatchRow> rows);

  struct StepTimes {
    SteadyTime start;          // before the switch
    absl::Duration switching;  // zero without one
    SteadyTime end;
  };
  struct StepOutcome {
    int64_t prompt_tokens = 0;     // that were stored
    bool prompt_complete = false;  // with this step
    int64_t emitted_tokens = 0;    // to the observer
    DraftCounts drafts;
  };
  // Books a step that was run with AddRows(tokens), and AddDrafts(). From the logits that its rows
  // wanted it samples the next tokens and hands them to the observer. DATA_LOSS for logits that are
  // not finite: then it has to end.
  absl::StatusOr<StepOutcome> FinishStep(int64_t tokens, absl::Span<const float> logits,
                                         const StepTimes& times);

  // After a step of the prompt: keeps it so far if it ends where others will go on otherwise.
  void KeepBranch(KvMemory& memory);
  // After the step with which the prompt was complete: gives every answer its own copy of it, and
  // keeps it for later prompts. Errors: the executor's.
  absl::Status SharePrompt(KvMemory& memory);
  // Frees the memory of finished answers, which is kept for later prompts if there is room.
  void ReleaseEnded(KvMemory& memory);
  // Once all answers are finished.
  std::optional<GenerationResult> Result() const;

  // The last event: frees KV memory, unpins the adapters, and then tells the observer, which may
  // thus unload them. Nothing may be called after it.
  void End(std::variant<GenerationResult, absl::Status> outcome);

 private:
  bool prefill() const { return choices_.front().stored_tokens() < prompt_tokens_; }
  // Prompt tokens that the next step may take.
  int64_t NextPromptTokens() const;
  void BookTimes(const StepTimes& times);

  const SequenceId id_;
  GenerationRequest request_;
  const std::shared_ptr<CancellationToken> cancellation_;
  const int64_t prompt_tokens_;
  const int64_t max_tokens_;  // of an answer; what there is room for, at most
  const SteadyTime submitted_;

  std::vector<Choice> choices_;  // at least one; the prompt is run in the first
  bool admitted_ = false;
  int64_t bypassed_ = 0;
  int64_t cached_tokens_ = 0;
  DraftCounts drafts_;
  int64_t branch_tokens_ = 0;  // of KvMemory::Reservation

  SteadyTime waiting_since_;
  SteadyTime phase_start_;  // of prefill or decode, moved on by the switches in between
  bool stepped_ = false;
  GenerationTimings timings_;
};

}  // namespace shira

#endif  // SHIRA_SERVER_ENGINE_SEQUENCE_H_
