#include "server/lifecycle/default_change.h"

#include "absl/cleanup/cleanup.h"
#include "base/status_macros.h"
#include "base/steady_wait.h"

namespace shira {

absl::Status DefaultChange::Set(absl::Span<const AdapterSelectionTerm> terms) {
  SHIRA_ASSIGN_OR_RETURN(const Catalog::Uses uses, catalog_.Use(terms));
  SHIRA_ASSIGN_OR_RETURN(std::shared_ptr<const CompiledState> state, states_.Supply(uses));
  SHIRA_RETURN_IF_ERROR(catalog_.SetDefault(terms, uses));
  states_.RefreshDefault();
  states_.KeepIfDefault(uses, std::move(state));
  return absl::OkStatus();
}

DefaultChangeResult DefaultChange::Make(absl::Span<const AdapterSelectionTerm> terms,
                                        SteadyTime deadline, std::shared_ptr<const void> owner) {
  // Before its turn: a disk that hangs does not hold up other changes.
  const absl::StatusOr<StateHandle> state = states_.Acquire(terms, std::move(owner));
  if (!state.ok()) return {.status = state.status(), .step = DefaultChangeStep::kAcquire};
  {
    absl::MutexLock lock(&mutex_);
    const auto idle = +[](bool* changing) { return !*changing; };
    if (!AwaitUntil(mutex_, absl::Condition(idle, &is_changing_), deadline)) {
      return {
          .status = absl::DeadlineExceededError("another change of the default state is under way"),
          .step = DefaultChangeStep::kTurn};
    }
    is_changing_ = true;
  }
  const absl::Cleanup done = [this] {
    absl::MutexLock lock(&mutex_);
    is_changing_ = false;
  };
  // Weights first: which state is resident does not affect any answer, so an error of Set() (an
  // adapter is being unloaded meanwhile) leaves everything that a client can see as it was.
  const absl::StatusOr<SwitchStats> stats = apply_(*state, deadline);
  if (!stats.ok()) return {.status = stats.status(), .step = DefaultChangeStep::kApply};
  if (const absl::Status status = Set(terms); !status.ok()) {
    return {.status = status, .step = DefaultChangeStep::kSet};
  }
  return {.status = absl::OkStatus(),
          .step = DefaultChangeStep::kDone,
          .key = state->state()->key,
          .adapters = state->adapters(),
          .stats = *stats};
}

}  // namespace shira
