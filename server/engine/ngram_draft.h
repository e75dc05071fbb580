// File: server/engine/ngram_draft.h
//
// Guesses at what follows in a text that repeats itself: when its last tokens occurred before, what
// followed them then may follow again. Editing, summarising and quoting answers repeat their prompt.

#ifndef SHIRA_SERVER_ENGINE_NGRAM_DRAFT_H_
#define SHIRA_SERVER_ENGINE_NGRAM_DRAFT_H_

#include <array>
#include <cstdint>
#include <vector>

#include "absl/types/span.h"

namespace shira {

// Where the n-grams of one sequence occurred last. Looking up and adding a token take the same time
// however long the sequence is, and the memory is fixed: of a sequence longer than kMostSlots / 2
// tokens, n-grams that occurred long ago may be forgotten. Thread-compatible.
class NgramIndex {
 public:
  // Tokens at the end of the text that are looked up: the longest first.
  static constexpr int64_t kLongest = 4;
  static constexpr int64_t kShortest = 2;
  // What is compared of the tokens before them.
  static constexpr int64_t kMostCompared = 16;
  static constexpr int64_t kMostSlots = int64_t{1} << 16;  // of 4 bytes, for each length

  // `capacity`: tokens that the sequence can come to have.
  explicit NgramIndex(int64_t capacity);

  struct Match {
    int64_t length = 0;  // tokens that are equal, up to kMostCompared; 0: there is no match
    int64_t next = 0;    // the place of the token that followed
  };
  // The last place before the end at which the longest possible number of the last tokens occurred.
  // REQUIRES: `tokens` begins with the tokens of the last call.
  Match Find(absl::Span<const int32_t> tokens);

 private:
  static constexpr int64_t kLengths = kLongest - kShortest + 1;

  int32_t& SlotOf(absl::Span<const int32_t> ngram);

  const int64_t slots_;  // a power of two
  // For each length: the place behind an n-gram, or 0. Of n-grams that share a slot the later one is
  // there.
  std::array<std::vector<int32_t>, kLengths> places_;
  int64_t indexed_ = 0;  // places up to here are known
};

// Appends to `draft` the `count` tokens that follow place `next` of `tokens`. Where these end the
// draft goes on with its own beginning, as a text does that repeats itself. REQUIRES: next < size.
void AppendContinuation(absl::Span<const int32_t> tokens, int64_t next, int64_t count,
                        std::vector<int32_t>& draft);

}  // namespace shira

#endif  // SHIRA_SERVER_ENGINE_NGRAM_DRAFT_H_
