#include "server/catalog/adapter_state.h"

namespace shira {

std::string_view AdapterStateName(AdapterState state) {
  switch (state) {
    case AdapterState::kLoading:
      return "LOADING";
    case AdapterState::kReady:
      return "READY";
    case AdapterState::kUnloading:
      return "UNLOADING";
    case AdapterState::kFailed:
      return "FAILED";
  }
  return "UNKNOWN";
}

bool IsLegalTransition(AdapterState from, AdapterState to) {
  switch (from) {
    case AdapterState::kLoading:
      return to == AdapterState::kReady || to == AdapterState::kFailed;
    case AdapterState::kReady:
      return to == AdapterState::kUnloading;
    case AdapterState::kUnloading:
      return to == AdapterState::kReady;
    case AdapterState::kFailed:
      return to == AdapterState::kLoading;
  }
  return false;
}

}  // namespace shira
