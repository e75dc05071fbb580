// File: server/executor/page_ledger.h
//
// Who owns which page of KV memory, by numbers: nothing here knows what a page is made of.

#ifndef SHIRA_SERVER_EXECUTOR_PAGE_LEDGER_H_
#define SHIRA_SERVER_EXECUTOR_PAGE_LEDGER_H_

#include <cstdint>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/types/span.h"
#include "server/executor/kv_geometry.h"

namespace shira {

// Pages 0 to geometry().pages - 1. A page has any number of owners; one without is free. Free pages
// can be promised, so that taking them later cannot fail. Thread-safe.
class PageLedger {
 public:
  explicit PageLedger(KvGeometry geometry);
  virtual ~PageLedger() = default;

  PageLedger(const PageLedger&) = delete;
  PageLedger& operator=(const PageLedger&) = delete;

  const KvGeometry& geometry() const { return geometry_; }
  // Neither owned nor promised.
  int64_t free_pages() const ABSL_LOCKS_EXCLUDED(mutex_);
  // Of all others, each counted once.
  int64_t used_bytes() const { return (geometry_.pages - free_pages()) * geometry_.page_bytes; }

  // False, and nothing promised, when there are not so many free pages.
  bool Promise(int64_t count) ABSL_LOCKS_EXCLUDED(mutex_);
  // Appends `count` pages, of which the caller is the one owner. REQUIRES: they were promised.
  void Take(int64_t count, std::vector<int64_t>& pages) ABSL_LOCKS_EXCLUDED(mutex_);
  // Makes the caller one more owner of each page, and promises `count` more; where that is negative
  // so many promises end. False, and nothing changed, when there are not so many free pages.
  bool Share(absl::Span<const int64_t> pages, int64_t count) ABSL_LOCKS_EXCLUDED(mutex_);
  // The caller's share of each page ends; a page that has no owner any more is free. Then promises
  // as Share() does. Does not allocate. REQUIRES: `count` is at most the number of pages that the
  // caller was the one owner of.
  void Return(absl::Span<const int64_t> pages, int64_t count) ABSL_LOCKS_EXCLUDED(mutex_);

 protected:
  // When a page gets its first owner, and when it has lost its last.
  virtual void OnTaken(int64_t /*page*/) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {}
  // Whether it is to be taken before pages for which this was false.
  virtual bool OnFreed(int64_t /*page*/) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return true; }

  mutable absl::Mutex mutex_;

 private:
  int64_t FreePages() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const KvGeometry geometry_;
  std::vector<int32_t> owners_ ABSL_GUARDED_BY(mutex_);  // by page
  int64_t promised_ ABSL_GUARDED_BY(mutex_) = 0;
  // Pages without an owner, those at the end taken first, and `preferred_` before the others.
  std::vector<int64_t> preferred_ ABSL_GUARDED_BY(mutex_);
  std::vector<int64_t> others_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace shira

#endif  // SHIRA_SERVER_EXECUTOR_PAGE_LEDGER_H_
