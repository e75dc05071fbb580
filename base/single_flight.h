// File: base/single_flight.h
//
// What several threads want at the same time is made by one of them, while the others wait for it.

#ifndef SHIRA_BASE_SINGLE_FLIGHT_H_
#define SHIRA_BASE_SINGLE_FLIGHT_H_

#include <memory>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "base/out_of_memory.h"

namespace shira {

// Thread-safe. Key is hashable, T copyable.
template <typename Key, typename T>
class SingleFlight {
 public:
  // Calls make() on this thread, or waits for the thread that is doing so for an equal key, and
  // returns the same as that one, errors included. A flight always ends: a failed
  // allocation is RESOURCE_EXHAUSTED for all callers. Nothing is kept once it has ended. make()
  // must not call Do() with its own key.
  //
  // `on_join`: called before waiting for another thread.
  // `on_landing`: called by the thread that has made it, when make() is over, as the flight ends:
  // calls for the key before it get this result, calls after it run make() again. Every flight
  // waits for it, so it must be short, and must not call Do().
  absl::StatusOr<T> Do(
      const Key& key, absl::FunctionRef<absl::StatusOr<T>()> make,
      absl::FunctionRef<void()> on_join = +[] {}, absl::FunctionRef<void()> on_landing = +[] {})
      ABSL_LOCKS_EXCLUDED(mutex_) {
    const auto mine = std::make_shared<Flight>();
    {
      absl::MutexLock lock(&mutex_);
      const auto [place, is_mine] = flights_.try_emplace(key, mine);
      if (!is_mine) {
        const std::shared_ptr<Flight> flight = place->second;
        on_join();
        mutex_.Await(absl::Condition(&flight->landed));
        return flight->result;
      }
    }
    absl::StatusOr<T> result = CatchOutOfMemory(make);
    absl::MutexLock lock(&mutex_);
    mine->result = result;
    mine->landed = true;
    flights_.erase(key);
    on_landing();
    return result;
  }

 private:
  // Guarded by mutex_.
  struct Flight {
    bool landed = false;
    absl::StatusOr<T> result = absl::UnknownError("under way");
  };

  absl::Mutex mutex_;
  absl::flat_hash_map<Key, std::shared_ptr<Flight>> flights_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace shira

#endif  // SHIRA_BASE_SINGLE_FLIGHT_H_
