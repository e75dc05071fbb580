// File: server/catalog/adapter_state.h
//
// The states of an adapter's life cycle, the legal moves between them, and where its data is. The
// diagram is in catalog.h.

#ifndef SHIRA_SERVER_CATALOG_ADAPTER_STATE_H_
#define SHIRA_SERVER_CATALOG_ADAPTER_STATE_H_

#include <string_view>

namespace shira {

enum class AdapterState {
  kLoading,    // being read, checked and compiled; published before the first byte is read
  kReady,      // can be used; published after everything that can fail
  kUnloading,  // no new use; published before waiting for the running ones
  kFailed,     // could not be loaded; kept with the reason until it is loaded again or unloaded
};

// Orthogonal to the state.
enum class AdapterResidency {
  kOnDisk,
  kInMemory,  // its tables are in memory
  kFused,     // part of the state that the weights are in now
};

// "LOADING" and so on.
std::string_view AdapterStateName(AdapterState state);

// Whether the life cycle has this arrow.
bool IsLegalTransition(AdapterState from, AdapterState to);

}  // namespace shira

#endif  // SHIRA_SERVER_CATALOG_ADAPTER_STATE_H_
