#include "server/grpc/resident_states.h"

#include <utility>
#include <vector>

#include "base/status_macros.h"
#include "server/grpc/proto_conversion.h"

namespace shira {

absl::StatusOr<ResidentStates> ResidentStatesOf(const Backend& backend) {
  ResidentStates states;
  const StateKey resident = backend.switch_engine.resident()->key;
  states.resident = ToProto(resident, backend.lifecycle.Describe(resident));

  const std::vector<AdapterRef> default_state = backend.lifecycle.DefaultState();
  std::vector<StateTerm> terms;
  for (const AdapterRef& adapter : default_state) {
    // Without an adapter that is not READY it is no state, and has the base's key.
    if (adapter.version > 0) terms.push_back({adapter.digest, adapter.weight});
  }
  if (terms.size() < default_state.size()) terms.clear();
  SHIRA_ASSIGN_OR_RETURN(const StateKey key, StateKey::Create(std::move(terms)));
  states.default_state = ToProto(key, default_state);
  return states;
}

}  // namespace shira
