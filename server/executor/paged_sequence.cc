#include "server/executor/paged_sequence.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "base/strings.h"

namespace shira {

PagedSequence::PagedSequence(std::shared_ptr<PageLedger> ledger, const SequenceRoom& room)
    : ledger_(std::move(ledger)), room_(room), groups_(ledger_->geometry().groups()) {}

PagedSequence::~PagedSequence() {
  for (const Group& group : groups_) {
    ledger_->Return(absl::MakeConstSpan(group.pages).subspan(group.first), -group.promised);
  }
}

absl::Status PagedSequence::Reserve() {
  if (room_.tokens <= 0) {
    return absl::InvalidArgumentError(
        StrCat("KV cache: expected room for at least 1 token, found ", room_.tokens));
  }
  const int64_t pages = geometry().PagesOf(room_, 0);
  if (!ledger_->Promise(pages)) return Exhausted(pages);
  for (int64_t i = 0; i < geometry().groups(); ++i) groups_[i].promised = Needed(i);
  return absl::OkStatus();
}

absl::Status PagedSequence::ForkInto(int64_t tokens, PagedSequence& fork) {
  if (!can_fork(tokens) || tokens > fork.room_.tokens || fork.room_.tokens <= 0) {
    return absl::InvalidArgumentError(StrCat(
        "KV cache: the first ", tokens, " tokens of a sequence of ", length_,
        ", as far as its windows still hold them, for one with room for ", fork.room_.tokens));
  }
  const int64_t shared = tokens / geometry().page_tokens;
  std::vector<std::vector<int64_t>> tables;
  std::vector<int64_t> pages;  // of all groups
  for (int64_t i = 0; i < geometry().groups(); ++i) {
    const std::vector<int64_t>& from = groups_[i].pages;
    tables.emplace_back(from.begin(), from.begin() + shared);
    const int64_t first = std::max(geometry().FirstKept(i, tokens), groups_[i].first);
    pages.insert(pages.end(), from.begin() + std::min(first, shared), from.begin() + shared);
  }
  // Nothing throws from here on until both are whole again.
  fork.length_ = tokens;
  fork.begun_ = fork.own_begin_ = shared;
  for (int64_t i = 0; i < geometry().groups(); ++i) {
    const int64_t first = std::max(geometry().FirstKept(i, tokens), groups_[i].first);
    fork.groups_[i].first = std::min(first, shared);
  }
  const int64_t own_begin = std::exchange(own_begin_, std::max(own_begin_, shared));
  const SequenceRoom room = room_;
  if (tokens >= room_.fork_at) room_.fork_at = 0;
  int64_t more = 0;
  for (int64_t i = 0; i < geometry().groups(); ++i) {
    more += fork.Needed(i) + Needed(i) - groups_[i].promised;
  }
  if (!ledger_->Share(pages, more)) {
    own_begin_ = own_begin;
    room_ = room;
    for (Group& group : fork.groups_) group.first = 0;
    fork.length_ = fork.begun_ = fork.own_begin_ = 0;
    return fork.Exhausted(more);
  }
  for (int64_t i = 0; i < geometry().groups(); ++i) {
    groups_[i].promised = Needed(i);
    fork.groups_[i].promised = fork.Needed(i);
    fork.groups_[i].pages = std::move(tables[i]);
  }
  if (tokens % geometry().page_tokens != 0) fork.Begin(1);
  return absl::OkStatus();
}

void PagedSequence::Begin(int64_t tokens) {
  const int64_t end = geometry().PagesFor(length_ + tokens);
  const int64_t count = end - begun_;
  if (count <= 0) return;
  for (Group& group : groups_) {  // before anything is taken: this may throw
    const auto places = static_cast<size_t>(end);
    if (group.pages.capacity() < places) {
      group.pages.reserve(std::max(places, 2 * group.pages.capacity()));
    }
  }
  for (Group& group : groups_) {
    ledger_->Take(count, group.pages);
    group.promised -= count;
  }
  begun_ = end;
}

void PagedSequence::Extend(int64_t tokens) {
  length_ += tokens;
  if (length_ > room_.fork_at) room_.fork_at = 0;
  for (int64_t i = 0; i < geometry().groups(); ++i) Settle(i, geometry().FirstKept(i, length_));
}

void PagedSequence::Finish() {
  room_ = {.tokens = length_};
  for (int64_t i = 0; i < geometry().groups(); ++i) Settle(i, groups_[i].first);
}

int64_t PagedSequence::room() const {
  int64_t pages = std::numeric_limits<int64_t>::max();
  for (const Group& group : groups_) pages = std::min(pages, begun_ + group.promised);
  if (pages >= geometry().PagesFor(room_.tokens)) return room_.tokens - length_;
  return pages * geometry().page_tokens - length_;
}

bool PagedSequence::can_fork(int64_t tokens) const {
  if (tokens < 0 || tokens > length_) return false;
  for (int64_t i = 0; tokens > 0 && i < geometry().groups(); ++i) {
    if (groups_[i].first > geometry().FirstSeen(i, tokens)) return false;
  }
  return true;
}

int64_t PagedSequence::pages() const {
  int64_t pages = 0;
  for (const Group& group : groups_) pages += begun_ - group.first + group.promised;
  return pages;
}

int64_t PagedSequence::Needed(int64_t group) const {
  const int64_t coming = std::max<int64_t>(geometry().PagesFor(room_.tokens) - begun_, 0);
  const int64_t own = begun_ - std::max(own_begin_, groups_[group].first);
  return std::clamp<int64_t>(geometry().MostOwn(group, room_, own_begin_) - own, 0, coming);
}

void PagedSequence::Settle(int64_t group, int64_t first) {
  Group& settled = groups_[group];
  const int64_t before = settled.first;
  settled.first = std::max(before, first);
  const int64_t needed = Needed(group);
  if (settled.first == before && needed == settled.promised) return;
  const auto returned = absl::MakeConstSpan(settled.pages).subspan(before, settled.first - before);
  ledger_->Return(returned, needed - settled.promised);
  settled.promised = needed;
}

absl::Status PagedSequence::Exhausted(int64_t pages) const {
  const KvGeometry& kv = geometry();
  return absl::ResourceExhaustedError(StrCat("KV cache: ", room_.tokens, " tokens take ", pages,
                                             " more pages of ", kv.page_bytes, " bytes, but ",
                                             ledger_->used_bytes(), " of ",
                                             kv.pages * kv.page_bytes, " bytes are in use"));
}

}  // namespace shira
