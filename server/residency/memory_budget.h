// File: server/residency/memory_budget.h
//
// Counts bytes against a limit. A reservation travels with the object that it is for, so bytes are
// released exactly when the memory is freed, on whichever thread holds the last reference.
//
//   SHIRA_ASSIGN_OR_RETURN(MemoryBudget::Reservation bytes,
//   budget->Reserve(adapter->memory_bytes())); adapter = WithReservation(std::move(adapter),
//   std::move(bytes));

#ifndef SHIRA_SERVER_RESIDENCY_MEMORY_BUDGET_H_
#define SHIRA_SERVER_RESIDENCY_MEMORY_BUDGET_H_

#include <cstdint>
#include <memory>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"

namespace shira {

// Thread-safe. Reservations keep it alive.
class MemoryBudget : public std::enable_shared_from_this<MemoryBudget> {
 public:
  // Gives its bytes back when destroyed. Move-only; thread-compatible.
  class Reservation {
   public:
    Reservation() = default;
    Reservation(Reservation&& other) noexcept { *this = std::move(other); }
    Reservation& operator=(Reservation&& other) noexcept;
    ~Reservation();

    int64_t bytes() const { return bytes_; }

    // Corrects the number of bytes once they are known. Never fails, even above the limit: this
    // memory is in use already.
    void Resize(int64_t bytes);

   private:
    friend class MemoryBudget;
    Reservation(std::shared_ptr<MemoryBudget> budget, int64_t bytes)
        : budget_(std::move(budget)), bytes_(bytes) {}

    std::shared_ptr<MemoryBudget> budget_;
    int64_t bytes_ = 0;
  };

  static std::shared_ptr<MemoryBudget> Create(int64_t limit_bytes);

  // RESOURCE_EXHAUSTED, with what is needed, in use and allowed, when that is above the limit.
  // REQUIRES: bytes >= 0.
  absl::StatusOr<Reservation> Reserve(int64_t bytes) ABSL_LOCKS_EXCLUDED(mutex_);

  // Counts memory that is in use already. Never fails, even above the limit.
  Reservation Count(int64_t bytes) ABSL_LOCKS_EXCLUDED(mutex_);

  int64_t limit_bytes() const { return limit_bytes_; }
  int64_t in_use_bytes() const ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  explicit MemoryBudget(int64_t limit_bytes) : limit_bytes_(limit_bytes) {}

  void Add(int64_t bytes) ABSL_LOCKS_EXCLUDED(mutex_);

  const int64_t limit_bytes_;
  mutable absl::Mutex mutex_;
  int64_t in_use_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
};

// `object`, which holds `reservation` until its last reference is gone: a Reservation, or anything
// made of them.
template <typename T, typename R>
std::shared_ptr<const T> WithReservation(std::shared_ptr<const T> object, R reservation) {
  struct Holder {
    // Destroyed last: the bytes are given back after the object is gone.
    R reservation;
    std::shared_ptr<const T> object;
  };
  auto holder = std::make_shared<const Holder>(Holder{std::move(reservation), std::move(object)});
  return std::shared_ptr<const T>(holder, holder->object.get());
}

}  // namespace shira

#endif  // SHIRA_SERVER_RESIDENCY_MEMORY_BUDGET_H_
