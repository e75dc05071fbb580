// File: server/executor/paged_sequence.h
//
// Which pages a sequence has: the book-keeping that all executors' caches share, whatever their pages
// are made of.
//
// All pages that a sequence can come to need at a time are promised to it when it is made. It takes
// them as its tokens come. In groups with a window it returns those that no later token sees, and is
// promised as many again as it still needs. A page that it shares with a fork is not its own to use
// again, so a fork takes what makes up for that, too.

#ifndef SHIRA_SERVER_EXECUTOR_PAGED_SEQUENCE_H_
#define SHIRA_SERVER_EXECUTOR_PAGED_SEQUENCE_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "server/executor/batch_row.h"
#include "server/executor/kv_geometry.h"
#include "server/executor/page_ledger.h"

namespace shira {

// Thread-compatible; keeps the ledger alive.
class PagedSequence : public SequenceCache {
 public:
  // Has nothing until Reserve() or ForkInto().
  PagedSequence(std::shared_ptr<PageLedger> ledger, const SequenceRoom& room);
  ~PagedSequence() override;

  PagedSequence(const PagedSequence&) = delete;
  PagedSequence& operator=(const PagedSequence&) = delete;

  // Makes it an empty sequence. INVALID_ARGUMENT for a room that is not positive,
  // RESOURCE_EXHAUSTED when there are not enough pages.
  absl::Status Reserve();

  // Makes `fork`, which has nothing, a sequence that begins with the first `tokens` of this one.
  // Whole pages are shared. Where `tokens` ends within a page, the fork has one of its own in its
  // place, OwnEnd(), which the caller has to fill. INVALID_ARGUMENT unless can_fork(tokens) and the
  // fork has room for them, otherwise as Reserve(); then both are as before.
  absl::Status ForkInto(int64_t tokens, PagedSequence& fork);

  // Takes the pages that `tokens` more positions lie in. REQUIRES: tokens <= room().
  void Begin(int64_t tokens);
  // Makes them part of the sequence, once every layer has written them. What no later token sees is
  // returned.
  void Extend(int64_t tokens);

  // Begin() took the drafted tokens' pages, where nothing is shared or read.
  void Accept(int64_t tokens) override { Extend(tokens); }

  int64_t length() const override { return length_; }
  int64_t capacity() const override { return room_.tokens; }
  int64_t room() const override;
  bool can_fork(int64_t tokens) const override;
  int64_t pages() const override;
  void Finish() override;

  // By their place in the sequence: page i holds the positions from i * page_tokens on. REQUIRES, of
  // the pages that are looked at: FirstSeen() of the positions that are run next or behind it.
  absl::Span<const int64_t> pages_of(int64_t group) const { return groups_[group].pages; }

 protected:
  const KvGeometry& geometry() const { return ledger_->geometry(); }
  // The place of the page that a fork has to fill, or -1.
  int64_t OwnEnd() const { return length_ % geometry().page_tokens == 0 ? -1 : begun_ - 1; }

 private:
  struct Group {
    int64_t first = 0;           // pages before it were returned
    int64_t promised = 0;        // and not taken
    std::vector<int64_t> pages;  // [begun_]
  };

  // Pages that it can still come to take, if it uses its own ones again.
  int64_t Needed(int64_t group) const;
  // Returns a group's pages before `first`, and is promised what it needs from then on.
  void Settle(int64_t group, int64_t first);
  absl::Status Exhausted(int64_t pages) const;

  const std::shared_ptr<PageLedger> ledger_;
  SequenceRoom room_;
  int64_t length_ = 0;
  int64_t begun_ = 0;      // pages of each group that it has taken or shares
  int64_t own_begin_ = 0;  // pages from there on have no other owner
  std::vector<Group> groups_;
};

}  // namespace shira

#endif  // SHIRA_SERVER_EXECUTOR_PAGED_SEQUENCE_H_
