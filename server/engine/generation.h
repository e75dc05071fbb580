// File: server/engine/generation.h
//
// One generation as the engine sees it: token ids in, token ids out. Text is the caller's business,
// through the observer.

#ifndef SHIRA_SERVER_ENGINE_GENERATION_H_
#define SHIRA_SERVER_ENGINE_GENERATION_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "base/steady_clock.h"
#include "server/residency/state_handle.h"
#include "server/sampling/sampler.h"
#include "server/sampling/sampling_params.h"

namespace shira {

enum class FinishReason {
  kStop,    // an end-of-generation or stop token, or the observer said so
  kLength,  // max_tokens, or the end of the context
};

// They add up to the time from Submit() to the last step's end. Steps of other states in between
// count where this generation stood: in prefill or decode.
struct GenerationTimings {
  absl::Duration queue;      // from Submit() to the first step
  absl::Duration switching;  // writing weights because this generation needed another state
  absl::Duration prefill;    // from the first step to the first token
  absl::Duration decode;     // from the first token to the last
};

// How one answer ended.
struct ChoiceResult {
  int32_t choice = 0;
  FinishReason reason = FinishReason::kLength;
  // What ended it, when a token did; the observer did not see it.
  std::optional<int32_t> stop_token;
  int64_t completion_tokens = 0;  // that the observer saw
};

// Tokens that were guessed, and run beside the one before them.
struct DraftCounts {
  int64_t drafted = 0;
  int64_t accepted = 0;  // of these: were what came, and saved a step each

  DraftCounts& operator+=(const DraftCounts& more) {
    drafted += more.drafted;
    accepted += more.accepted;
    return *this;
  }
};

struct GenerationResult {
  std::vector<ChoiceResult> choices;  // by number
  int64_t cached_prompt_tokens = 0;   // that an earlier generation of the same state had run
  DraftCounts drafts = {};            // of all choices
  GenerationTimings timings;
};

struct GeneratedToken {
  int32_t choice = 0;
  int32_t token = 0;
  std::optional<Logprobs> logprobs;  // when asked for
};

// Receives one generation's events, on the engine's thread: methods must return quickly and never
// block. Calls are, for each choice, OnToken any number of times and then OnChoiceEnd; the choices'
// events are interleaved. Then exactly one of OnFinished and OnFailed is the last; OnFailed may
// come at any time.
class GenerationObserver {
 public:
  enum class Verdict { kContinue, kStop };

  virtual ~GenerationObserver() = default;
  // The verdict is about the token's choice.
  virtual Verdict OnToken(const GeneratedToken& token) = 0;
  virtual void OnChoiceEnd(const ChoiceResult& result) = 0;
  virtual void OnFinished(const GenerationResult& result) = 0;
  // CANCELLED, DEADLINE_EXCEEDED, UNAVAILABLE (drained), RESOURCE_EXHAUSTED, DATA_LOSS (logits that
  // are not finite), INTERNAL, and what the state's source says.
  virtual void OnFailed(const absl::Status& status) = 0;
};

// Lets the caller end a generation early. Thread-safe; outlives the generation harmlessly.
class CancellationToken {
 public:
  // What the generation ends with; the first one counts. REQUIRES: !why.ok().
  void Cancel(absl::Status why = absl::CancelledError("the generation was cancelled")) {
    absl::MutexLock lock(&mutex_);
    if (cancelled_) return;
    why_ = std::move(why);
    cancelled_ = true;
  }
  bool cancelled() const { return cancelled_; }
  // OK unless it is cancelled.
  absl::Status status() const {
    if (!cancelled_) return absl::OkStatus();
    absl::MutexLock lock(&mutex_);
    return why_;
  }

 private:
  std::atomic<bool> cancelled_{false};
  mutable absl::Mutex mutex_;
  absl::Status why_ ABSL_GUARDED_BY(mutex_);
};

struct GenerationRequest {
  std::string id;               // for the logs
  std::string client;           // whose it is: clients share the engine (admission_policy.h)
  std::vector<int32_t> prompt;  // not empty, ids within the vocabulary
  int64_t max_tokens = 0;       // > 0, of each answer
  // Answers to this prompt, which is run once; > 0. Answer i is drawn with the seed
  // sampling.seed + i, so it is what a generation of one answer with that seed gives.
  int32_t choices = 1;
  std::vector<int32_t>
      stop_tokens;  // end-of-generation ids included, unless they are to be ignored
  SamplingParams sampling;
  std::optional<int32_t> top_logprobs;  // nullopt: none; 0: the chosen token's only
  // Whether tokens may be drafted, which changes no token and nothing but the time; nullopt: as the
  // engine does by default.
  std::optional<bool> speculate;
  int32_t priority = 0;  // higher goes first; a second in the queue counts as much as one level
  SteadyTime deadline = SteadyTime::InfiniteFuture();
  // Which weights; keeps the adapters loaded until the generation ends. The state itself need not be
  // there: it is got when the generation's turn is near.
  StateHandle state;
  std::shared_ptr<GenerationObserver> observer;
  // Also ends it before it is submitted. nullptr: Submit() makes one.
  std::shared_ptr<CancellationToken> cancellation;
};

}  // namespace shira

#endif  // SHIRA_SERVER_ENGINE_GENERATION_H_
