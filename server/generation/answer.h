// File: server/generation/answer.h
//
// An answer on its way to the client: pieces as they come, and the summary at the end.

#ifndef SHIRA_SERVER_GENERATION_ANSWER_H_
#define SHIRA_SERVER_GENERATION_ANSWER_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "server/engine/generation.h"
#include "server/residency/state_handle.h"

namespace shira {

// A token under the model's own distribution, before temperature, cuts and penalties.
struct TokenLogprob {
  int32_t token = 0;
  float logprob = 0.0f;
  std::string bytes = {};  // the token's, not always whole characters; empty beyond the vocabulary
};

struct TokenLogprobs {
  TokenLogprob chosen;
  std::vector<TokenLogprob> top = {};  // the most probable tokens, best first
};

// The next piece of one answer. Pieces of several answers come interleaved.
struct AnswerChunk {
  int32_t choice = 0;     // which answer
  std::string text = {};  // valid UTF-8; empty while the tokens do not end a character
  std::vector<int32_t> token_ids = {};
  std::vector<TokenLogprobs> logprobs = {};                  // one per token id, when asked for
  std::optional<FinishReason> finish_reason = std::nullopt;  // of the last piece of one of several

  // `next` is the piece behind this one.
  void Append(AnswerChunk&& next);
  // What it takes.
  int64_t memory_bytes() const;
};

// How one answer ended.
struct AnswerEnd {
  int32_t choice = 0;
  FinishReason reason = FinishReason::kLength;
  std::string stop_string = {};                      // that ended it, if one did
  std::optional<int32_t> stop_token = std::nullopt;  // the same; not among the answer's ids
  int64_t completion_tokens = 0;
  std::optional<uint64_t> seed = std::nullopt;  // nullopt: greedy
};

struct AnswerSummary {
  std::string request_id;
  std::vector<AdapterRef> adapters;  // what made it, in canonical order; none: the base
  std::vector<AnswerEnd> ends;       // of each answer, by number; at least one
  std::vector<int32_t> prompt;       // token ids
  int64_t cached_prompt_tokens = 0;  // that were not run
  DraftCounts drafts = {};           // of all answers
  GenerationTimings timings;

  // Of all answers together.
  int64_t completion_tokens() const;
};

// Where an answer goes. Called on the engine's thread: methods return quickly and never block. Any
// number of OnChunk, then exactly one of OnSummary and OnError, after which the sink is not touched
// any more.
class AnswerSink {
 public:
  virtual ~AnswerSink() = default;
  virtual void OnChunk(AnswerChunk chunk) = 0;
  virtual void OnSummary(AnswerSummary summary) = 0;
  virtual void OnError(absl::Status status) = 0;
};

}  // namespace shira

#endif  // SHIRA_SERVER_GENERATION_ANSWER_H_
