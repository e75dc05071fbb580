// File: server/registry/state_handle.h
//
// A pin: while a handle lives, the compiled state that it names and every adapter in it stay
// loaded.

#ifndef SHIRA_SERVER_REGISTRY_STATE_HANDLE_H_
#define SHIRA_SERVER_REGISTRY_STATE_HANDLE_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "adapters/switch/compiled_state.h"
#include "base/sha256.h"

namespace shira {

// One adapter of a state, as it was when the handle was made.
struct AdapterRef {
  std::string name;
  int64_t version = 0;
  Sha256Digest digest;
  double weight = 1.0;
};

// One adapter of a set that somebody asks for: by name, by name@version, or by an alias.
struct AdapterSelectionTerm {
  std::string name;
  double weight = 1.0;

  bool operator==(const AdapterSelectionTerm&) const = default;
};

// Move-only. Thread-compatible; may be destroyed on any thread.
class StateHandle {
 public:
  // No state; not usable in a request.
  StateHandle() = default;
  // `release` is called once, when the handle is destroyed.
  StateHandle(std::shared_ptr<const CompiledState> state, std::vector<AdapterRef> adapters,
              std::function<void()> release)
      : state_(std::move(state)), adapters_(std::move(adapters)), release_(std::move(release)) {}

  StateHandle(StateHandle&& other) noexcept { *this = std::move(other); }
  StateHandle& operator=(StateHandle&& other) noexcept {
    std::swap(state_, other.state_);
    std::swap(adapters_, other.adapters_);
    std::swap(release_, other.release_);
    return *this;
  }
  ~StateHandle() {
    if (release_) release_();
  }

  explicit operator bool() const { return state_ != nullptr; }
  const std::shared_ptr<const CompiledState>& state() const { return state_; }
  // In the state's canonical order; empty for the base.
  const std::vector<AdapterRef>& adapters() const { return adapters_; }

 private:
  std::shared_ptr<const CompiledState> state_;
  std::vector<AdapterRef> adapters_;
  std::function<void()> release_;
};

}  // namespace shira

#endif  // SHIRA_SERVER_REGISTRY_STATE_HANDLE_H_
