// File: server/model/kv_page_pool.h
//
// The memory of all keys and values: pages of equal size, counted against a budget.

#ifndef SHIRA_SERVER_MODEL_KV_PAGE_POOL_H_
#define SHIRA_SERVER_MODEL_KV_PAGE_POOL_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "server/executor/kv_geometry.h"
#include "server/executor/page_ledger.h"

namespace shira {

// Address space for the whole budget is reserved once; a page takes memory from its first write
// until some time after its last owner has returned it. Memory comes in the system's huge pages,
// where it has them: attention reads half as fast from small ones. Thread-safe.
class KvPagePool final : public PageLedger {
 public:
  // As many pages of at least `geometry.page_bytes` (> 0) as the budget has room for; the ledger's
  // geometry() says how many, and how large they are. RESOURCE_EXHAUSTED when the machine cannot have
  // that much memory.
  static absl::StatusOr<std::shared_ptr<KvPagePool>> Create(KvGeometry geometry,
                                                            int64_t budget_bytes);
  // REQUIRES: every page was given back.
  ~KvPagePool() override;

  int64_t budget_bytes() const { return budget_bytes_; }

  // Where a page is: aligned to the system's pages.
  std::byte* AddressOf(int64_t page) const { return memory_ + page * geometry().page_bytes; }

 protected:
  void OnTaken(int64_t page) override ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool OnFreed(int64_t page) override ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

 private:
  KvPagePool(KvGeometry geometry, int64_t budget_bytes, void* mapped);

  // Calls f(number) for each large page that a page is in.
  template <typename F>
  void ForLargePages(int64_t page, F f) const;

  const int64_t budget_bytes_;
  void* const mapped_;       // what munmap() wants; null when there are no pages
  std::byte* const memory_;  // [pages, page_bytes], from a large page's start on; may be null

  std::vector<int32_t> users_ ABSL_GUARDED_BY(mutex_);  // pages with an owner, by large page
  std::vector<bool> warm_ ABSL_GUARDED_BY(mutex_);      // free pages that kept their memory
  int64_t warm_pages_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace shira

#endif  // SHIRA_SERVER_MODEL_KV_PAGE_POOL_H_
