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

absl::StatusOr<std::shared_ptr<KvPagePool>> KvPagePool::Create(int64_t page_bytes,
                                                               int64_t budget_bytes) {
  const int64_t system_page = sysconf(_SC_PAGESIZE);
  page_bytes = static_cast<int64_t>(RoundUp(page_bytes, system_page));
  const int64_t pages = std::max<int64_t>(budget_bytes, 0) / page_bytes;
  void* mapped = nullptr;
  if (pages > 0) {
    const uint64_t bytes = MappedBytes(pages * page_bytes);
    mapped = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapped == MAP_FAILED) {
      return absl::ResourceExhaustedError(
          StrCat("KV memory: the machine has no ", budget_bytes, " bytes: ", std::strerror(errno)));
    }
    madvise(mapped, bytes, MADV_HUGEPAGE);  // advice: may fail
  }
  return std::shared_ptr<KvPagePool>(new KvPagePool(page_bytes, budget_bytes, pages, mapped));
}

KvPagePool::KvPagePool(int64_t page_bytes, int64_t budget_bytes, int64_t pages, void* mapped)
    : page_bytes_(page_bytes),
      budget_bytes_(budget_bytes),
      pages_(pages),
      mapped_(mapped),
      memory_(FirstLargePage(mapped)),
      owners_(pages),
      users_(RoundUp(pages * page_bytes, kLargePage) / kLargePage) {
  // Returning a page must not allocate.
  warm_.reserve(pages);
  cold_.reserve(pages);
  for (int64_t i = pages; i > 0; --i) cold_.push_back(i - 1);
}

KvPagePool::~KvPagePool() {
  if (mapped_ != nullptr) munmap(mapped_, MappedBytes(pages_ * page_bytes_));
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
    CountUser(from.back(), 1);
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
  for (const std::byte* page : pages) {
    const int64_t number = NumberOf(page);
    if (--owners_[number] > 0) continue;
    CountUser(number, -1);
    if (static_cast<int64_t>(warm_.size()) * page_bytes_ < kReserveBytes) {
      warm_.push_back(number);
    } else {
      GiveBack(number);
      cold_.push_back(number);
    }
  }
}

void KvPagePool::CountUser(int64_t number, int32_t change) {
  const int64_t last = ((number + 1) * page_bytes_ - 1) / kLargePage;
  for (int64_t i = number * page_bytes_ / kLargePage; i <= last; ++i) users_[i] += change;
}

void KvPagePool::GiveBack(int64_t number) {
  const int64_t last = ((number + 1) * page_bytes_ - 1) / kLargePage;
  for (int64_t i = number * page_bytes_ / kLargePage; i <= last; ++i) {
    // A free page may lose its memory with this one: it will get new.
    if (users_[i] == 0) madvise(memory_ + i * kLargePage, kLargePage, MADV_DONTNEED);
  }
}

}  // namespace shira
