// File: server/model/kv_page_pool.h
//
// The memory of all keys and values: pages of equal size, counted against a budget, that sequences
// may share.

#ifndef SHIRA_SERVER_MODEL_KV_PAGE_POOL_H_
#define SHIRA_SERVER_MODEL_KV_PAGE_POOL_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/types/span.h"

namespace shira {

// Address space for the whole budget is reserved once; a page takes memory from its first write
// until some time after its last owner has returned it. Memory comes in the system's huge pages,
// where it has them: attention reads half as fast from small ones. Thread-safe.
class KvPagePool {
 public:
  // As many pages of at least `page_bytes` (> 0) as the budget has room for. RESOURCE_EXHAUSTED
  // when the machine cannot have that much memory.
  static absl::StatusOr<std::shared_ptr<KvPagePool>> Create(int64_t page_bytes,
                                                            int64_t budget_bytes);
  // REQUIRES: every page was given back.
  ~KvPagePool();

  KvPagePool(const KvPagePool&) = delete;
  KvPagePool& operator=(const KvPagePool&) = delete;

  int64_t page_bytes() const { return page_bytes_; }  // rounded up to the system's pages
  int64_t budget_bytes() const { return budget_bytes_; }
  int64_t free_pages() const ABSL_LOCKS_EXCLUDED(mutex_);
  // Of pages that have an owner, each counted once.
  int64_t used_bytes() const ABSL_LOCKS_EXCLUDED(mutex_);

  // Appends `count` pages with one owner each to `pages`, their contents undefined. False, and
  // nothing taken, when there are not so many.
  bool Take(int64_t count, std::vector<std::byte*>& pages) ABSL_LOCKS_EXCLUDED(mutex_);
  // Makes the caller one more owner of each page.
  void Share(absl::Span<std::byte* const> pages) ABSL_LOCKS_EXCLUDED(mutex_);
  // The caller's share ends; a page that has no owner any more is free.
  void Return(absl::Span<std::byte* const> pages) ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  KvPagePool(int64_t page_bytes, int64_t budget_bytes, int64_t pages, void* mapped);

  int64_t NumberOf(const std::byte* page) const { return (page - memory_) / page_bytes_; }
  // Adds `change` to the users of each large page that a page is in.
  void CountUser(int64_t number, int32_t change) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Gives the large pages around a page to the system, but for those that others use.
  void GiveBack(int64_t number) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const int64_t page_bytes_;
  const int64_t budget_bytes_;
  const int64_t pages_;
  void* const mapped_;       // what munmap() wants; null when there are no pages
  std::byte* const memory_;  // [pages_, page_bytes_], from a large page's start on; may be null

  mutable absl::Mutex mutex_;
  std::vector<int32_t> owners_ ABSL_GUARDED_BY(mutex_);  // by page
  std::vector<int32_t> users_ ABSL_GUARDED_BY(mutex_);   // pages with an owner, by large page
  // Free pages by number: those with memory, which are taken first, and those without.
  std::vector<int64_t> warm_ ABSL_GUARDED_BY(mutex_);
  std::vector<int64_t> cold_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace shira

#endif  // SHIRA_SERVER_MODEL_KV_PAGE_POOL_H_
