#include "server/model/kv_page_pool.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/status/status.h"
#include "base/strings.h"

namespace shira {
namespace {

// Free pages keep this much memory, so that sequences that come and go do not fetch it from the
// system again and again.
constexpr int64_t kReserveBytes = int64_t{32} << 20;

constexpr int64_t kLargePage = int64_t{2} << 20;

// Unsigned: budgets may be as large as int64_t has them.
uint64_t RoundUp(uint64_t value, uint64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

// What is mapped for so many bytes of pages: whole large pages, wherever the mapping starts.
uint64_t MappedBytes(uint64_t bytes) { return RoundUp(bytes, kLargePage) + kLargePage; }

std::byte* FirstLargePage(void* mapped) {
  return reinterpret_cast<std::byte*>(RoundUp(reinterpret_cast<uintptr_t>(mapped), kLargePage));
}

}  // namespace

absl::StatusOr<std::shared_ptr<KvPagePool>> KvPagePool::Create(KvGeometry geometry,
                                                               int64_t budget_bytes) {
  const int64_t system_page = sysconf(_SC_PAGESIZE);
  geometry.page_bytes = static_cast<int64_t>(RoundUp(geometry.page_bytes, system_page));
  geometry.pages = std::max<int64_t>(budget_bytes, 0) / geometry.page_bytes;
  void* mapped = nullptr;
  if (geometry.pages > 0) {
    const uint64_t bytes = MappedBytes(geometry.pages * geometry.page_bytes);
    mapped = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapped == MAP_FAILED) {
      return absl::ResourceExhaustedError(
          StrCat("KV memory: the machine has no ", budget_bytes, " bytes: ", std::strerror(errno)));
    }
    madvise(mapped, bytes, MADV_HUGEPAGE);  // advice: may fail
  }
  return std::shared_ptr<KvPagePool>(new KvPagePool(std::move(geometry), budget_bytes, mapped));
}

KvPagePool::KvPagePool(KvGeometry geometry, int64_t budget_bytes, void* mapped)
    : PageLedger(std::move(geometry)),
      budget_bytes_(budget_bytes),
      mapped_(mapped),
      memory_(FirstLargePage(mapped)),
      users_(RoundUp(this->geometry().pages * this->geometry().page_bytes, kLargePage) /
             kLargePage),
      warm_(this->geometry().pages) {}

KvPagePool::~KvPagePool() {
  if (mapped_ != nullptr) munmap(mapped_, MappedBytes(geometry().pages * geometry().page_bytes));
}

template <typename F>
void KvPagePool::ForLargePages(int64_t page, F f) const {
  const int64_t bytes = geometry().page_bytes;
  const int64_t last = ((page + 1) * bytes - 1) / kLargePage;
  for (int64_t i = page * bytes / kLargePage; i <= last; ++i) f(i);
}

void KvPagePool::OnTaken(int64_t page) {
  if (warm_[page]) --warm_pages_;
  warm_[page] = false;
  ForLargePages(page, [&](int64_t i) ABSL_NO_THREAD_SAFETY_ANALYSIS { ++users_[i]; });
}

bool KvPagePool::OnFreed(int64_t page) {
  ForLargePages(page, [&](int64_t i) ABSL_NO_THREAD_SAFETY_ANALYSIS { --users_[i]; });
  if (warm_pages_ * geometry().page_bytes < kReserveBytes) {
    warm_[page] = true;
    ++warm_pages_;
    return true;
  }
  ForLargePages(page, [&](int64_t i) ABSL_NO_THREAD_SAFETY_ANALYSIS {
    // A free page may lose its memory with this one: it will get new.
    if (users_[i] == 0) madvise(memory_ + i * kLargePage, kLargePage, MADV_DONTNEED);
  });
  return false;
}

}  // namespace shira
