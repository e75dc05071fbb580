#include "server/engine/ngram_draft.h"

#include <algorithm>
#include <bit>
#include <limits>

namespace shira {
namespace {

constexpr int64_t kLeastSlots = 256;

uint64_t HashOf(absl::Span<const int32_t> ngram) {
  uint64_t hash = 0;
  for (const int32_t token : ngram) {
    hash = (hash ^ static_cast<uint32_t>(token)) * 0x9e3779b97f4a7c15;
    hash ^= hash >> 32;
  }
  return hash;
}

// Tokens that are the same before the places a and b, looking back from there.
int64_t EqualBefore(absl::Span<const int32_t> tokens, int64_t a, int64_t b, int64_t most) {
  int64_t equal = 0;
  most = std::min({most, a, b});
  while (equal < most && tokens[a - 1 - equal] == tokens[b - 1 - equal]) ++equal;
  return equal;
}

int64_t SlotsFor(int64_t capacity) {
  const int64_t wanted = std::clamp(2 * std::min(capacity, NgramIndex::kMostSlots), kLeastSlots,
                                    NgramIndex::kMostSlots);
  return static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(wanted)));
}

}  // namespace

NgramIndex::NgramIndex(int64_t capacity) : slots_(SlotsFor(capacity)) {}

int32_t& NgramIndex::SlotOf(absl::Span<const int32_t> ngram) {
  return places_[ngram.size() - kShortest][HashOf(ngram) & static_cast<uint64_t>(slots_ - 1)];
}

NgramIndex::Match NgramIndex::Find(absl::Span<const int32_t> tokens) {
  const int64_t size =
      std::min<int64_t>(static_cast<int64_t>(tokens.size()), std::numeric_limits<int32_t>::max());
  for (std::vector<int32_t>& places : places_) {
    if (places.empty()) places.resize(slots_, 0);
  }
  // The end itself is no place: nothing has followed it.
  for (int64_t place = indexed_ + 1; place < size; ++place) {
    for (int64_t length = kShortest; length <= std::min(kLongest, place); ++length) {
      SlotOf(tokens.subspan(place - length, length)) = static_cast<int32_t>(place);
    }
    indexed_ = place;
  }
  for (int64_t length = std::min(kLongest, size); length >= kShortest; --length) {
    const int64_t place = SlotOf(tokens.subspan(size - length, length));
    if (place == 0) continue;
    const int64_t equal = EqualBefore(tokens, place, size, kMostCompared);
    if (equal >= length) return {.length = equal, .next = place};
  }
  return {};
}

void AppendContinuation(absl::Span<const int32_t> tokens, int64_t next, int64_t count,
                        std::vector<int32_t>& draft) {
  const int64_t known = static_cast<int64_t>(tokens.size()) - next;
  const size_t begin = draft.size();
  for (int64_t i = 0; i < count; ++i) {
    draft.push_back(i < known ? tokens[next + i] : draft[begin + i - known]);
  }
}

}  // namespace shira
