// File: server/residency/resident_cache.h
//
// Objects in memory by key, the least recently used first to go. Used for compiled states and for
// adapters' deltas.

#ifndef SHIRA_SERVER_RESIDENCY_RESIDENT_CACHE_H_
#define SHIRA_SERVER_RESIDENCY_RESIDENT_CACHE_H_

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <list>
#include <memory>
#include <utility>

#include "absl/container/flat_hash_map.h"

namespace shira {

// An object is pinned while a reference outside of the cache exists: of requests, the default
// state, the switch engine. Pinned objects are not evicted, since that would free nothing. Thread-compatible.
template <typename Key, typename T>
class ResidentCache {
 public:
  struct Entry {
    Key key;
    std::shared_ptr<const T> object;
    int64_t own_bytes = 0;   // freed with the object
    int64_t full_bytes = 0;  // with what it shares with others
  };

  // nullptr when absent. The object counts as used now.
  std::shared_ptr<const T> Find(const Key& key) {
    const auto found = by_key_.find(key);
    if (found == by_key_.end()) return nullptr;
    entries_.splice(entries_.begin(), entries_, found->second);
    return found->second->object;
  }

  // The same, but does not count as a use.
  const Entry* Peek(const Key& key) const {
    const auto found = by_key_.find(key);
    return found == by_key_.end() ? nullptr : &*found->second;
  }

  // REQUIRES: the key is absent.
  void Insert(Entry entry) {
    entries_.push_front(std::move(entry));
    by_key_[entries_.front().key] = entries_.begin();
  }

  // Evicts the least recently used object that is not pinned. False if there is none.
  bool EvictOne() {
    for (auto it = entries_.end(); it != entries_.begin();) {
      --it;
      if (IsPinned(*it)) continue;
      Erase(it);
      return true;
    }
    return false;
  }

  // The own bytes of everything that is not pinned.
  int64_t evictable_bytes() const {
    int64_t bytes = 0;
    for (const Entry& entry : entries_) {
      if (!IsPinned(entry)) bytes += entry.own_bytes;
    }
    return bytes;
  }

  // Removes every object whose key satisfies `predicate`, pinned or not.
  template <typename Predicate>
  void EraseIf(Predicate predicate) {
    for (auto it = entries_.begin(); it != entries_.end();) {
      it = predicate(it->key) ? Erase(it) : std::next(it);
    }
  }

  size_t size() const { return by_key_.size(); }

 private:
  using List = std::list<Entry>;  // most recently used first

  // If the cache holds the only reference, only a weak pointer can make another meanwhile; then the
  // evicted object lives on, still counted, until that reference is gone.
  static bool IsPinned(const Entry& entry) { return entry.object.use_count() > 1; }

  typename List::iterator Erase(typename List::iterator it) {
    by_key_.erase(it->key);
    return entries_.erase(it);
  }

  List entries_;
  absl::flat_hash_map<Key, typename List::iterator> by_key_;
};

}  // namespace shira

#endif  // SHIRA_SERVER_RESIDENCY_RESIDENT_CACHE_H_
