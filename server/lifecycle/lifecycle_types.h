// File: server/lifecycle/lifecycle_types.h
//
// What the use cases of the life cycle take and give.

#ifndef SHIRA_SERVER_LIFECYCLE_LIFECYCLE_TYPES_H_
#define SHIRA_SERVER_LIFECYCLE_LIFECYCLE_TYPES_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "adapters/switch/fusion_blend.h"
#include "adapters/switch/state_key.h"
#include "adapters/switch/switch_engine.h"
#include "base/sha256.h"
#include "base/steady_clock.h"
#include "server/catalog/adapter_info.h"
#include "server/catalog/adapter_selection.h"
#include "server/residency/state_handle.h"

namespace shira {

struct AdapterLoadOptions {
  // An adapter of the same name with other content becomes its version before.
  bool replace = false;
  // INVALID_ARGUMENT unless the adapter is in this format; empty: any.
  std::string format = "";
  // The path may be one that the operator alone may name.
  bool by_operator = false;
};

struct AdapterLoadResult {
  AdapterInfo info;
  bool already_loaded = false;
  // What the version before was, if it is no newest any more.
  std::optional<Sha256Digest> replaced = std::nullopt;
};

struct AdapterBlendResult {
  AdapterInfo info;
  FusionReport report;
  bool already_created = false;
};

struct AdapterRestoreReport {
  int64_t restored = 0;
  // What could not be read again, and why; it is kFailed until it is loaded again or unloaded.
  std::vector<std::pair<std::string, absl::Status>> failed;  // name@version
  // Uploads that no adapter has: a server was killed before it had written their adapter into the
  // state file. They are removed, if the state file was there to tell; what is in the folder
  // otherwise stays.
  std::vector<std::string> removed_uploads;
  std::vector<std::string> unused_uploads;
};

struct AdapterUnloadOptions {
  SteadyTime deadline = SteadyTime::InfiniteFuture();  // of the wait for running requests
  // Ends the requests that use it instead of waiting for them.
  bool cancel_running = false;
  // Called several times a second while it waits: whether the caller has gone away.
  std::function<bool()> is_cancelled = [] { return false; };
};

// Makes a state resident in the weights, by the deadline. Engine::Apply().
using ApplyState =
    std::function<absl::StatusOr<SwitchStats>(const StateHandle& state, SteadyTime deadline)>;

// How far a change of the default state came.
enum class DefaultChangeStep {
  kAcquire,  // its adapters
  kTurn,     // waiting for another change
  kApply,    // to the weights
  kSet,      // as the default
  kDone,
};

struct DefaultChangeResult {
  absl::Status status;
  DefaultChangeStep step = DefaultChangeStep::kAcquire;  // the one that failed, or kDone
  // Iff kDone:
  StateKey key = {};
  std::vector<AdapterRef> adapters = {};  // in the key's order
  SwitchStats stats = {};
};

}  // namespace shira

#endif  // SHIRA_SERVER_LIFECYCLE_LIFECYCLE_TYPES_H_
