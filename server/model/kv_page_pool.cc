#include "server/model/kv_page_pool.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "absl/status/status.h"
#include "base/strings.h"

namespace shira {
namespace {

// Free pages keep this much memory, so that sequences that come and go do not fetch it from the
// system again and again.
constexpr int64_t kReserveBytes = int64_t{32} << 20;

}  // namespace

absl::StatusOr<std::shared_ptr<KvPagePool>> KvPagePool::Create(int64_t page_bytes,
                                                               int64_t budget_bytes) {
  const int64_t system_page = sysconf(_SC_PAGESIZE);
  page_bytes = (page_bytes + system_page - 1) / system_page * system_page;
  const int64_t pages = std::max<int64_t>(budget_bytes, 0) / page_bytes;
  std::byte* memory = nullptr;
  if (pages > 0) {
    void* mapped = mmap(nullptr, pages * page_bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapped == MAP_FAILED) {
      return absl::ResourceExhaustedError(
          StrCat("KV memory: the machine has no ", budget_bytes, " bytes: ", std::strerror(errno)));
    }
    memory = static_cast<std::byte*>(mapped);
  }
  return std::shared_ptr<KvPagePool>(new KvPagePool(page_bytes, budget_bytes, pages, memory));
}

KvPagePool::KvPagePool(int64_t page_bytes, int64_t budget_bytes, int64_t pages, std::byte* memory)
    : page_bytes_(page_bytes),
      budget_bytes_(budget_bytes),
      pages_(pages),
      memory_(memory),
      owners_(pages) {
  // Returning a page must not allocate.
  warm_.reserve(pages);
  cold_.reserve(pages);
  for (int64_t i = pages; i > 0; --i) cold_.push_back(i - 1);
}

KvPagePool::~KvPagePool() {
  if (memory_ != nullptr) munmap(memory_, pages_ * page_bytes_);
}

int64_t KvPagePool::free_pages() const {
  absl::MutexLock lock(&mutex_);
  return static_cast<int64_t>(warm_.size() + cold_.size());
}

int64_t KvPagePool::used_bytes() const { return (pages_ - free_pages()) * page_bytes_; }

bool KvPagePool::Take(int64_t count, std::vector<std::byte*>& pages) {
  pages.reserve(pages.size() + count);
  absl::MutexLock lock(&mutex_);
  if (count > static_cast<int64_t>(warm_.size() + cold_.size())) return false;
  for (int64_t i = 0; i < count; ++i) {
    std::vector<int64_t>& from = warm_.empty() ? cold_ : warm_;
    owners_[from.back()] = 1;
    pages.push_back(memory_ + from.back() * page_bytes_);
    from.pop_back();
  }
  return true;
}

void KvPagePool::Share(absl::Span<std::byte* const> pages) {
  absl::MutexLock lock(&mutex_);
  for (const std::byte* page : pages) ++owners_[NumberOf(page)];
}

void KvPagePool::Return(absl::Span<std::byte* const> pages) {
  absl::MutexLock lock(&mutex_);
  for (std::byte* page : pages) {
    const int64_t number = NumberOf(page);
    if (--owners_[number] > 0) continue;
    if (static_cast<int64_t>(warm_.size()) * page_bytes_ < kReserveBytes) {
      warm_.push_back(number);
    } else {
      madvise(page, page_bytes_, MADV_DONTNEED);
      cold_.push_back(number);
    }
  }
}

}  // namespace shira
