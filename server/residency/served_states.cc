#include "server/residency/served_states.h"

#include <functional>
#include <string>

#include "base/status_macros.h"
#include "base/steady_clock.h"

namespace shira {
namespace {

absl::StatusOr<StateKey> KeyOf(const Catalog::Uses& uses) {
  std::vector<StateTerm> terms;
  for (const AdapterRef& adapter : uses.adapters())
    terms.push_back({adapter.digest, adapter.weight});
  return StateKey::Create(std::move(terms));
}

}  // namespace

class ServedStates::HeldAdapters final : public StateSource {
 public:
  HeldAdapters(std::shared_ptr<const void> owner, ServedStates& states, Catalog::Uses uses)
      : owner_(std::move(owner)), states_(states), uses_(std::move(uses)) {}

  absl::StatusOr<std::shared_ptr<const CompiledState>> Get(
      absl::FunctionRef<void()> on_memory) override {
    SHIRA_ASSIGN_OR_RETURN(std::shared_ptr<const CompiledState> state,
                           states_.Supply(uses_, on_memory));
    states_.KeepIfDefault(uses_, state);
    return state;
  }

 private:
  const std::shared_ptr<const void> owner_;  // first: the others are in it
  ServedStates& states_;
  const Catalog::Uses uses_;
};

// ---- Handles ------------------------------------------------------------------------------------

absl::StatusOr<StateHandle> ServedStates::ToHandle(absl::StatusOr<Catalog::Uses> uses,
                                                   std::shared_ptr<const void> owner,
                                                   bool is_default) {
  SHIRA_RETURN_IF_ERROR(uses.status());
  SHIRA_ASSIGN_OR_RETURN(std::shared_ptr<const CompiledState> state, Supply(*uses));
  if (is_default) KeepIfDefault(*uses, state);
  std::vector<AdapterRef> adapters = uses->adapters();
  if (adapters.empty()) return StateHandle(std::move(state), {}, nullptr);
  // Shared, since functions are copied; the handle calls it once.
  auto held = std::make_shared<Catalog::Uses>(*std::move(uses));
  return StateHandle(std::move(state), std::move(adapters),
                     [owner = std::move(owner), held = std::move(held)] { *held = {}; });
}

absl::StatusOr<StateHandle> ServedStates::ToHeldHandle(absl::StatusOr<Catalog::Uses> uses,
                                                       std::shared_ptr<const void> owner) {
  SHIRA_RETURN_IF_ERROR(uses.status());
  SHIRA_ASSIGN_OR_RETURN(const StateKey key, KeyOf(*uses));
  // Or it would wait for memory that can never become free.
  SHIRA_RETURN_IF_ERROR(states_.CheckFits(uses->entries()));
  std::vector<AdapterRef> adapters = uses->adapters();
  const std::shared_ptr<const CompiledState> known =
      key.is_base() ? engine_.base() : memory_.FindState(key);
  if (known != nullptr && !key.is_base()) {
    absl::MutexLock lock(&mutex_);
    ++counts_.warm_uses;
  }
  auto source = std::make_shared<HeldAdapters>(std::move(owner), *this, *std::move(uses));
  return StateHandle(key, known, std::move(adapters), std::move(source));
}

absl::StatusOr<StateHandle> ServedStates::Acquire(absl::Span<const AdapterSelectionTerm> terms,
                                                  std::shared_ptr<const void> owner) {
  return ToHandle(catalog_.Use(terms), std::move(owner), /*is_default=*/false);
}

absl::StatusOr<StateHandle> ServedStates::AcquireDefault(std::shared_ptr<const void> owner) {
  return ToHandle(catalog_.UseDefault(), std::move(owner), /*is_default=*/true);
}

absl::StatusOr<StateHandle> ServedStates::Hold(absl::Span<const AdapterSelectionTerm> terms,
                                               std::shared_ptr<const void> owner) {
  return ToHeldHandle(catalog_.Use(terms), std::move(owner));
}

absl::StatusOr<StateHandle> ServedStates::HoldDefault(std::shared_ptr<const void> owner) {
  return ToHeldHandle(catalog_.UseDefault(), std::move(owner));
}

// ---- Supply -------------------------------------------------------------------------------------

absl::StatusOr<std::shared_ptr<const CompiledState>> ServedStates::Supply(
    const Catalog::Uses& uses, absl::FunctionRef<void()> on_memory) {
  const SteadyTime start = SteadyNow();
  bool compiled = false;
  bool read_files = false;
  const auto read = [&]() -> absl::StatusOr<std::vector<WeightedAdapterRef>> {
    compiled = true;
    std::vector<WeightedAdapterRef> adapters;
    for (const Catalog::Uses::Version& version : uses.versions()) {
      SHIRA_ASSIGN_OR_RETURN(DeltaSupplier::Supply supply, deltas_.Get(SourceOf(version)));
      read_files |= supply.was_read;
      adapters.push_back({std::move(supply.deltas), version.weight});
    }
    return adapters;
  };
  SHIRA_ASSIGN_OR_RETURN(const StateKey key, KeyOf(uses));
  SHIRA_ASSIGN_OR_RETURN(std::shared_ptr<const CompiledState> state,
                         states_.Get(key, uses.entries(), on_memory, read));
  absl::MutexLock lock(&mutex_);
  if (read_files) {
    counts_.cold_starts.Add(SteadyNow() - start);
  } else if (compiled) {
    counts_.compilations.Add(SteadyNow() - start);
  } else if (!uses.empty()) {
    ++counts_.warm_uses;
  }
  return state;
}

absl::StatusOr<std::shared_ptr<const SparseAdapter>> ServedStates::DeltasOf(
    const Catalog::Uses::Version& version) {
  SHIRA_ASSIGN_OR_RETURN(DeltaSupplier::Supply supply, deltas_.Get(SourceOf(version)));
  return std::move(supply.deltas);
}

absl::StatusOr<std::shared_ptr<const CompiledState>> ServedStates::CompileOwn(
    const std::shared_ptr<const SparseAdapter>& adapter) {
  SHIRA_ASSIGN_OR_RETURN(const StateKey key, StateKey::Create({{adapter->digest, 1.0}}));
  const auto read = [&] { return std::vector<WeightedAdapterRef>{{adapter, 1.0}}; };
  return states_.Get(
      key, adapter->entries(), [] {}, read);
}

UseCounts ServedStates::counts() const {
  absl::MutexLock lock(&mutex_);
  return counts_;
}

// ---- The default's state ------------------------------------------------------------------------

void ServedStates::KeepIfDefault(const Catalog::Uses& uses,
                                 std::shared_ptr<const CompiledState> state) {
  absl::MutexLock lock(&default_mutex_);
  const absl::StatusOr<std::vector<AdapterRef>> meant = catalog_.ResolveDefault();
  if (!meant.ok() || *meant != uses.adapters()) return;
  default_adapters_ = *meant;
  std::swap(default_state_, state);  // the one before is dropped after the lock is
}

void ServedStates::RefreshDefault() {
  std::shared_ptr<const CompiledState> previous;  // dropped after the lock is
  absl::MutexLock lock(&default_mutex_);
  const absl::StatusOr<std::vector<AdapterRef>> meant = catalog_.ResolveDefault();
  if (meant.ok() && *meant == default_adapters_) return;
  default_adapters_.clear();
  previous = std::move(default_state_);
}

}  // namespace shira
