// File: server/engine/answer_drafts.h
//
// The drafts of one answer: made from its prompt and what it has so far, run as far as it pays, and
// compared with the tokens that come. Which tokens come does not depend on them.

#ifndef SHIRA_SERVER_ENGINE_ANSWER_DRAFTS_H_
#define SHIRA_SERVER_ENGINE_ANSWER_DRAFTS_H_

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "server/engine/draft_acceptance.h"
#include "server/engine/draft_planner.h"
#include "server/engine/ngram_draft.h"

namespace shira {

// Thread-compatible.
class AnswerDrafts {
 public:
  // `capacity`: most tokens of prompt and answer.
  explicit AnswerDrafts(int64_t capacity) : index_(capacity) {}

  // Makes a draft of up to `most` tokens that may follow `tokens`, which are prompt and answer; there
  // may be none. Nothing of it is run yet. REQUIRES: tokens is not empty, and as NgramIndex::Find().
  DraftOffer Offer(absl::Span<const int32_t> tokens, int64_t most);
  // The first `count` tokens of the offer are run. REQUIRES: no more were offered.
  void Run(int64_t count) { running_ = count; }

  // Tokens that are run.
  int64_t running() const { return running_; }
  // What the step runs: the last token of the answer and the draft behind it. Valid until Offer().
  absl::Span<const int32_t> chunk() const {
    return absl::MakeConstSpan(chunk_).first(1 + running_);
  }

  // Token `place` of the offer's, if it has so many, is compared with the one that came there.
  // Whether the step has run the model behind it. REQUIRES: called for places 0, 1, ... in order, as
  // long as it returns true.
  bool Confirm(int64_t place, int32_t token);
  // The step is over: learns from what was compared, and forgets the draft.
  void End();

 private:
  NgramIndex index_;
  DraftAcceptance acceptance_;
  std::vector<int32_t> chunk_ = {0};  // the answer's last token, then the offer
  int64_t match_length_ = 0;
  int64_t running_ = 0;
  int64_t right_ = 0;
  bool wrong_ = false;
};

}  // namespace shira

#endif  // SHIRA_SERVER_ENGINE_ANSWER_DRAFTS_H_
