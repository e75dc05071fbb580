// File: base/weak_pool.h
//
// Equal objects kept once: a caller that makes another gets the one that is in use already. The
// pool holds weak references, so an object is freed with its last user.

#ifndef SHIRA_BASE_WEAK_POOL_H_
#define SHIRA_BASE_WEAK_POOL_H_

#include <cstddef>
#include <memory>

#include "absl/container/flat_hash_map.h"

namespace shira {

// Key is hashable; equal keys mean equal objects. Thread-compatible: the owner has the lock. Objects
// may be released on any thread at any time.
template <typename Key, typename T>
class WeakPool {
 public:
  // nullptr if no such object is in use.
  std::shared_ptr<const T> Find(const Key& key) const {
    const auto found = objects_.find(key);
    return found == objects_.end() ? nullptr : found->second.lock();
  }

  // The object in use with this key: `object` itself if there was none.
  std::shared_ptr<const T> Intern(const Key& key, std::shared_ptr<const T> object) {
    std::weak_ptr<const T>& slot = objects_[key];
    if (std::shared_ptr<const T> used = slot.lock()) return used;
    slot = object;
    // Entries of freed objects would accumulate; removing them when the map's size has doubled
    // keeps the cost constant per call.
    if (objects_.size() > 2 * swept_size_ + kFewEntries) {
      absl::erase_if(objects_, [](const auto& entry) { return entry.second.expired(); });
      swept_size_ = objects_.size();
    }
    return object;
  }

  // Calls visit(const T&) for every object in use.
  template <typename Visit>
  void ForEach(Visit visit) const {
    for (const auto& [key, entry] : objects_) {
      if (const std::shared_ptr<const T> object = entry.lock()) visit(*object);
    }
  }

  // Entries, those of released objects included; at most about twice the objects in use.
  size_t size() const { return objects_.size(); }

 private:
  static constexpr size_t kFewEntries = 64;  // not worth sweeping

  absl::flat_hash_map<Key, std::weak_ptr<const T>> objects_;
  size_t swept_size_ = 0;
};

}  // namespace shira

#endif  // SHIRA_BASE_WEAK_POOL_H_
