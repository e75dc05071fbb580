#include "server/executor/page_ledger.h"

#include <utility>

namespace shira {

PageLedger::PageLedger(KvGeometry geometry)
    : geometry_(std::move(geometry)), owners_(geometry_.pages) {
  absl::MutexLock lock(&mutex_);
  preferred_.reserve(geometry_.pages);  // Return() must not allocate
  others_.reserve(geometry_.pages);
  for (int64_t page = geometry_.pages; page > 0; --page) others_.push_back(page - 1);
}

int64_t PageLedger::FreePages() const {
  return static_cast<int64_t>(preferred_.size() + others_.size()) - promised_;
}

int64_t PageLedger::free_pages() const {
  absl::MutexLock lock(&mutex_);
  return FreePages();
}

bool PageLedger::Promise(int64_t count) { return Share({}, count); }

void PageLedger::Take(int64_t count, std::vector<int64_t>& pages) {
  pages.reserve(pages.size() + count);
  absl::MutexLock lock(&mutex_);
  promised_ -= count;
  for (int64_t i = 0; i < count; ++i) {
    std::vector<int64_t>& from = preferred_.empty() ? others_ : preferred_;
    const int64_t page = from.back();
    from.pop_back();
    owners_[page] = 1;
    OnTaken(page);
    pages.push_back(page);
  }
}

bool PageLedger::Share(absl::Span<const int64_t> pages, int64_t count) {
  absl::MutexLock lock(&mutex_);
  if (count > FreePages()) return false;
  promised_ += count;
  for (const int64_t page : pages) ++owners_[page];
  return true;
}

void PageLedger::Return(absl::Span<const int64_t> pages, int64_t count) {
  absl::MutexLock lock(&mutex_);
  for (const int64_t page : pages) {
    if (--owners_[page] == 0) (OnFreed(page) ? preferred_ : others_).push_back(page);
  }
  promised_ += count;
}

}  // namespace shira
