#include "server/engine/answer_drafts.h"

namespace shira {

DraftOffer AnswerDrafts::Offer(absl::Span<const int32_t> tokens, int64_t most) {
  chunk_.assign(1, tokens.back());
  running_ = 0;
  const NgramIndex::Match match = index_.Find(tokens);
  match_length_ = match.length;
  if (match.length > 0 && most > 0) AppendContinuation(tokens, match.next, most, chunk_);
  return {.tokens = static_cast<int64_t>(chunk_.size()) - 1,
          .acceptance = acceptance_.Of(match.length)};
}

bool AnswerDrafts::Confirm(int64_t place, int32_t token) {
  if (place + 1 >= static_cast<int64_t>(chunk_.size())) return false;
  const bool is_right = chunk_[place + 1] == token;
  if (is_right) {
    ++right_;
  } else {
    wrong_ = true;
  }
  return is_right && place < running_;
}

void AnswerDrafts::End() {
  acceptance_.Observe(match_length_, right_, wrong_);
  chunk_.resize(1);
  running_ = right_ = 0;
  wrong_ = false;
}

}  // namespace shira
