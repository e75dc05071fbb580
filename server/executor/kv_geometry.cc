#include "server/executor/kv_geometry.h"

#include <algorithm>

namespace shira {
namespace {

// More than any machine has, and sums of them over all groups still fit an int64_t.
constexpr int64_t kAnyPages = int64_t{1} << 40;

}  // namespace

int64_t KvGeometry::PagesFor(int64_t tokens) const {
  return std::min(tokens / page_tokens + (tokens % page_tokens == 0 ? 0 : 1), kAnyPages);
}

int64_t KvGeometry::FirstSeen(int64_t group, int64_t position) const {
  const int64_t window = windows[group];
  if (window == 0 || position < window) return 0;
  return (position - window + 1) / block_tokens * (block_tokens / page_tokens);
}

int64_t KvGeometry::FirstKept(int64_t group, int64_t length) const {
  return FirstSeen(group, (length / page_tokens - 1) * page_tokens);
}

int64_t KvGeometry::MostKept(int64_t group) const {
  const int64_t window = windows[group];
  if (window == 0) return kAnyPages;
  // From FirstKept(length) to length + chunk_tokens, at the worst places of length in its page and
  // of the window in its block.
  const int64_t spare = block_tokens + 2 * page_tokens - 3;
  return PagesFor(std::min(window, kAnyPages) + std::min(chunk_tokens, kAnyPages) + spare);
}

int64_t KvGeometry::MostOwn(int64_t group, const SequenceRoom& room, int64_t own_begin) const {
  const int64_t most = MostKept(group);
  if (room.fork_at == 0) return most;
  const int64_t fork_page = room.fork_at / page_tokens;
  const int64_t shared =
      std::max<int64_t>(fork_page - std::max(FirstKept(group, room.fork_at), own_begin), 0);
  const int64_t following = std::min(PagesFor(room.tokens) - fork_page, most);
  return std::max(most, shared + following);
}

int64_t KvGeometry::PagesOf(const SequenceRoom& room, int64_t shared) const {
  int64_t all = 0;
  for (int64_t group = 0; group < groups(); ++group) {
    all += std::min(PagesFor(room.tokens) - shared, MostOwn(group, room, shared));
  }
  return all;
}

int64_t KvGeometry::LongestSequence(int64_t most) const {
  int64_t fits = 0;
  int64_t too_long = std::max<int64_t>(most, 0) + 1;
  while (too_long - fits > 1) {
    const int64_t middle = fits + (too_long - fits) / 2;
    (PagesOf({.tokens = middle}, 0) <= pages ? fits : too_long) = middle;
  }
  return fits;
}

}  // namespace shira
