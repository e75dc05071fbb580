// File: server/residency/state_handle.h
//
// A pin: while a handle lives, every adapter in the state that it names stays loaded, and the
// compiled state stays in memory once the handle has it.

#ifndef SHIRA_SERVER_RESIDENCY_STATE_HANDLE_H_
#define SHIRA_SERVER_RESIDENCY_STATE_HANDLE_H_

#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "adapters/switch/compiled_state.h"
#include "adapters/switch/state_key.h"
#include "server/catalog/adapter_selection.h"

namespace shira {

// Where a state can be had whose adapters are pinned for as long as this lives. Thread-safe.
class StateSource {
 public:
  virtual ~StateSource() = default;
  // From memory, or read and compiled on the caller's thread, which takes as long as a disk does.
  // `on_memory` is called when the memory for it is there: what comes after is not for want of it.
  // Errors of AdapterLifecycle::Acquire().
  virtual absl::StatusOr<std::shared_ptr<const CompiledState>> Get(
      absl::FunctionRef<void()> on_memory) = 0;
};

// Move-only. Thread-compatible; may be destroyed on any thread.
class StateHandle {
 public:
  // No state; not usable in a request.
  StateHandle() = default;
  // A state that is got from `source` when it is needed, unless it is `known` and still in memory
  // by then.
  StateHandle(StateKey key, std::weak_ptr<const CompiledState> known,
              std::vector<AdapterRef> adapters, std::shared_ptr<StateSource> source)
      : key_(std::move(key)),
        known_(std::move(known)),
        source_(std::move(source)),
        adapters_(std::move(adapters)) {}
  // `release` is called once, when the handle is destroyed.
  StateHandle(std::shared_ptr<const CompiledState> state, std::vector<AdapterRef> adapters,
              std::function<void()> release)
      : key_(state->key),
        state_(std::move(state)),
        adapters_(std::move(adapters)),
        release_(std::move(release)) {}

  StateHandle(StateHandle&& other) noexcept { *this = std::move(other); }
  StateHandle& operator=(StateHandle&& other) noexcept {
    std::swap(key_, other.key_);
    std::swap(known_, other.known_);
    std::swap(source_, other.source_);
    std::swap(state_, other.state_);
    std::swap(adapters_, other.adapters_);
    std::swap(release_, other.release_);
    return *this;
  }
  ~StateHandle() {
    if (release_) release_();
  }

  explicit operator bool() const { return state_ != nullptr || source_ != nullptr; }
  const StateKey& key() const { return key_; }
  // nullptr until the handle has it.
  const std::shared_ptr<const CompiledState>& state() const { return state_; }
  // nullptr for a handle that has its state from the beginning.
  const std::shared_ptr<StateSource>& source() const { return source_; }

  // Whether it is in memory, without holding it there.
  bool is_known() const { return state_ != nullptr || !known_.expired(); }
  // Whether the handle has its state, now that it has looked for it in memory. Waits for nothing.
  bool Find() {
    if (state_ == nullptr) state_ = known_.lock();
    return state_ != nullptr;
  }
  void SetSource(std::shared_ptr<StateSource> source) { source_ = std::move(source); }
  // REQUIRES: it is what source() gave.
  void Set(std::shared_ptr<const CompiledState> state) { state_ = std::move(state); }

  // In the state's canonical order; empty for the base.
  const std::vector<AdapterRef>& adapters() const { return adapters_; }

 private:
  StateKey key_;
  std::weak_ptr<const CompiledState> known_;
  std::shared_ptr<StateSource> source_;
  std::shared_ptr<const CompiledState> state_;
  std::vector<AdapterRef> adapters_;
  std::function<void()> release_;
};

}  // namespace shira

#endif  // SHIRA_SERVER_RESIDENCY_STATE_HANDLE_H_
