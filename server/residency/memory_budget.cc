#include "server/residency/memory_budget.h"

#include "base/strings.h"

namespace shira {

MemoryBudget::Reservation& MemoryBudget::Reservation::operator=(Reservation&& other) noexcept {
  std::swap(budget_, other.budget_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

MemoryBudget::Reservation::~Reservation() { Resize(0); }

void MemoryBudget::Reservation::Resize(int64_t bytes) {
  if (budget_ != nullptr) budget_->Add(bytes - bytes_);
  bytes_ = bytes;
}

std::shared_ptr<MemoryBudget> MemoryBudget::Create(int64_t limit_bytes) {
  return std::shared_ptr<MemoryBudget>(new MemoryBudget(limit_bytes));
}

absl::StatusOr<MemoryBudget::Reservation> MemoryBudget::Reserve(int64_t bytes) {
  absl::MutexLock lock(&mutex_);
  if (bytes > limit_bytes_ - in_use_bytes_) {
    return absl::ResourceExhaustedError(StrCat(
        "adapters need ", bytes, " bytes more, but ", in_use_bytes_, " of the ", limit_bytes_,
        " bytes of their memory budget are in use: unload adapters or raise "
        "the budget"));
  }
  in_use_bytes_ += bytes;
  return Reservation(shared_from_this(), bytes);
}

MemoryBudget::Reservation MemoryBudget::Count(int64_t bytes) {
  Add(bytes);
  return Reservation(shared_from_this(), bytes);
}

int64_t MemoryBudget::in_use_bytes() const {
  absl::MutexLock lock(&mutex_);
  return in_use_bytes_;
}

void MemoryBudget::Add(int64_t bytes) {
  absl::MutexLock lock(&mutex_);
  in_use_bytes_ += bytes;
}

}  // namespace shira
