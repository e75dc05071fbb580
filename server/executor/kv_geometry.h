// File: server/executor/kv_geometry.h
//
// How many pages of KV memory sequences need, as plain arithmetic: what executors keep and what the
// engine reserves is counted by the same functions.
//
// Layers are in groups, and a page holds the keys and values of page_tokens positions in the layers
// of one group. In a group with a window a token sees the positions of the window alone, so a
// sequence keeps the pages from its window on: about those of window + chunk, however long it is.

#ifndef SHIRA_SERVER_EXECUTOR_KV_GEOMETRY_H_
#define SHIRA_SERVER_EXECUTOR_KV_GEOMETRY_H_

#include <cstdint>
#include <vector>

namespace shira {

// What a sequence is to have room for.
struct SequenceRoom {
  int64_t tokens = 0;
  // Forks will begin with so many of its first tokens, and go on beside it; 0: none. A page of a
  // window that is shared cannot be used again, so this takes more of them.
  int64_t fork_at = 0;
};

struct KvGeometry {
  int64_t page_tokens = 1;
  int64_t page_bytes = 1;
  int64_t pages = 0;  // that there are
  // Tokens that one sequence can store in a pass, whatever its windows.
  int64_t chunk_tokens = 512;
  // Positions that attention reads together: what a window begins within is kept whole. A multiple
  // of page_tokens.
  int64_t block_tokens = 1;
  // By group: positions that a token sees, its own among them; 0: all.
  std::vector<int64_t> windows = {0};

  int64_t groups() const { return static_cast<int64_t>(windows.size()); }

  // Pages of one group that so many tokens lie in.
  int64_t PagesFor(int64_t tokens) const;

  // The first page of a group of which the tokens from `position` on see anything.
  int64_t FirstSeen(int64_t group, int64_t position) const;

  // The first page of a group that a sequence of `length` tokens keeps. A fork may begin with its
  // whole pages, or with one less: a prompt that is asked again runs its last token again.
  int64_t FirstKept(int64_t group, int64_t length) const;

  // Pages of a group that a sequence has at a time, if it uses those again that it does not keep.
  int64_t MostKept(int64_t group) const;

  // Pages of a group that a sequence with this room has for itself at a time, if the pages before
  // `own_begin` are others' too.
  int64_t MostOwn(int64_t group, const SequenceRoom& room, int64_t own_begin) const;

  // Pages of all groups that are reserved for a sequence, beside the first `shared` of each group,
  // which it shares.
  int64_t PagesOf(const SequenceRoom& room, int64_t shared) const;

  // The longest sequence, up to `most` tokens, that there are pages for.
  int64_t LongestSequence(int64_t most) const;
};

}  // namespace shira

#endif  // SHIRA_SERVER_EXECUTOR_KV_GEOMETRY_H_
