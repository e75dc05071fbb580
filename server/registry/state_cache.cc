#include "server/registry/state_cache.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace shira {
namespace {

// Exact where it matters: others can get a state from the cache alone, so if the cache is its only
// holder, that does not change behind the caller's back.
bool IsPinned(const std::shared_ptr<const CompiledState>& state) { return state.use_count() > 1; }

}  // namespace

std::shared_ptr<const CompiledState> StateCache::Find(const StateKey& key) {
  const auto it = by_key_.find(key);
  if (it == by_key_.end()) return nullptr;
  states_.splice(states_.begin(), states_, it->second);
  return *it->second;
}

const CompiledState* StateCache::Peek(const StateKey& key) const {
  const auto it = by_key_.find(key);
  return it == by_key_.end() ? nullptr : it->second->get();
}

std::shared_ptr<const CompiledState> StateCache::Insert(std::shared_ptr<const CompiledState> state,
                                                        MemoryBudget::Reservation reservation) {
  states_.push_front(WithReservation(std::move(state), std::move(reservation)));
  by_key_[states_.front()->key] = states_.begin();
  return states_.front();
}

bool StateCache::Evict(int64_t bytes) {
  int64_t evictable = 0;
  for (const auto& state : states_) {
    if (!IsPinned(state)) evictable += state->memory_bytes();
  }
  if (evictable < bytes) return false;
  for (auto it = states_.end(); bytes > 0 && it != states_.begin();) {
    --it;
    if (IsPinned(*it)) continue;
    bytes -= (*it)->memory_bytes();
    it = Erase(it);
  }
  return true;
}

void StateCache::DropStatesOf(const Sha256Digest& adapter) {
  for (auto it = states_.begin(); it != states_.end();) {
    const auto terms = (*it)->key.terms();
    const bool has_adapter = std::any_of(
        terms.begin(), terms.end(), [&](const StateTerm& term) { return term.adapter == adapter; });
    it = has_adapter ? Erase(it) : std::next(it);
  }
}

StateCache::List::iterator StateCache::Erase(List::iterator it) {
  by_key_.erase((*it)->key);
  return states_.erase(it);
}

}  // namespace shira
