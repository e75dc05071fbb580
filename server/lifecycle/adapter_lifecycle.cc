#include "server/lifecycle/adapter_lifecycle.h"

#include <algorithm>
#include <utility>

#include "adapters/switch/state_key.h"
#include "base/status_macros.h"
#include "server/catalog/catalog.h"
#include "server/lifecycle/adapter_blending.h"
#include "server/lifecycle/adapter_loading.h"
#include "server/lifecycle/adapter_restoring.h"
#include "server/lifecycle/adapter_unloading.h"
#include "server/lifecycle/adapter_views.h"
#include "server/lifecycle/catalog_saver.h"
#include "server/lifecycle/default_change.h"
#include "server/lifecycle/file_removal.h"
#include "server/lifecycle/path_confinement.h"
#include "server/lifecycle/version_ends.h"
#include "server/residency/adapter_memory.h"
#include "server/residency/served_states.h"

namespace shira {

// The parts, each of which uses those above it. Handles own it too.
struct AdapterLifecycle::Impl {
  Impl(Options options_, AdapterSources::Paths paths, std::unique_ptr<StateStore> store_,
       std::unique_ptr<UploadStore> uploads_, const AdapterReader& reader, SwitchEngine& engine)
      : options(std::move(options_)),
        store(std::move(store_)),
        uploads(std::move(uploads_)),
        sources(std::move(paths), std::max(1, options.max_concurrent_loads), reader, options.read),
        memory(options.memory_budget_bytes),
        removal(uploads.get(), store != nullptr),
        ends(memory, removal, options.on_gone),
        catalog({.max_adapters = options.max_adapters,
                 .keep_versions = options.keep_versions,
                 .on_end = [this](Catalog::Ended version) { ends.End(std::move(version)); }}),
        states(catalog, memory, engine,
               [this](const std::string& path) { return sources.ReadAgain(path); }),
        views(catalog, memory, engine),
        saver(catalog, store.get(), removal, options.on_state_file_error),
        loading({catalog, sources, memory, states, views, uploads.get(), book}),
        blending({catalog, sources, memory, states, views, loading, ends, removal, store.get()}),
        restoring({catalog, sources, memory, states, store.get(), uploads.get(), book,
                   options.max_concurrent_loads}),
        unloading(catalog, views, ends),
        default_change(catalog, states, options.apply) {}

  // Every change that a result shows, of this call or of another, is saved before.
  template <typename Result>
  Result Saved(Result result) {
    saver.Save();
    return result;
  }

  absl::StatusOr<AdapterInfo> Pin(std::string_view name) {
    SHIRA_ASSIGN_OR_RETURN(const Catalog::Uses uses,
                           catalog.Use({AdapterSelectionTerm{std::string(name), 1.0}}));
    SHIRA_ASSIGN_OR_RETURN(std::shared_ptr<const CompiledState> state, states.Supply(uses));
    SHIRA_ASSIGN_OR_RETURN(const Catalog::Entry entry, catalog.Pin(uses, name, std::move(state)));
    return views.InfoOf(entry);
  }
  absl::StatusOr<AdapterInfo> Unpin(std::string_view name) {
    SHIRA_ASSIGN_OR_RETURN(const Catalog::Entry entry, catalog.Unpin(name));
    return views.InfoOf(entry);
  }
  // Of a change of aliases, which may have moved the default.
  absl::StatusOr<AliasInfo> Refreshed(absl::StatusOr<AliasInfo> info) {
    if (info.ok()) states.RefreshDefault();
    return info;
  }

  // Constant after construction.
  const Options options;
  const std::unique_ptr<StateStore> store;     // nullptr: nothing survives a restart
  const std::unique_ptr<UploadStore> uploads;  // nullptr: nothing can be uploaded

  // Synchronise themselves.
  AdapterSources sources;
  AdapterMemory memory;
  FileRemoval removal;
  VersionEnds ends;
  Catalog catalog;
  ServedStates states;
  AdapterViews views;
  CatalogSaver saver;
  LoadBook book;
  AdapterLoading loading;
  AdapterBlending blending;
  AdapterRestoring restoring;
  AdapterUnloading unloading;
  DefaultChange default_change;
};

AdapterLifecycle::AdapterLifecycle(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
AdapterLifecycle::~AdapterLifecycle() { impl_->ends.Stop(); }

absl::StatusOr<std::unique_ptr<AdapterLifecycle>> AdapterLifecycle::Create(
    Options options, const AdapterReader& reader, SwitchEngine& engine) {
  SHIRA_ASSIGN_OR_RETURN(PathConfinement client_paths, PathConfinement::Create(options.roots));
  std::vector<std::string> paths = options.roots;
  paths.insert(paths.end(), options.operator_paths.begin(), options.operator_paths.end());
  SHIRA_ASSIGN_OR_RETURN(PathConfinement operator_paths, PathConfinement::Create(paths));
  std::unique_ptr<UploadStore> uploads;
  if (options.uploads.has_value()) {
    SHIRA_ASSIGN_OR_RETURN(uploads, UploadStore::Open(*options.uploads));
    paths.push_back(uploads->folder());
  }
  std::unique_ptr<StateStore> store;
  if (!options.state_file.empty()) {
    SHIRA_ASSIGN_OR_RETURN(store, StateStore::Open(options.state_file, options.write_state_file));
    paths.push_back(store->blends_folder());
  }
  SHIRA_ASSIGN_OR_RETURN(PathConfinement all_paths, PathConfinement::Create(paths));
  auto impl =
      std::make_shared<Impl>(std::move(options),
                             AdapterSources::Paths{std::move(client_paths),
                                                   std::move(operator_paths), std::move(all_paths)},
                             std::move(store), std::move(uploads), reader, engine);
  return std::unique_ptr<AdapterLifecycle>(new AdapterLifecycle(std::move(impl)));
}

// ---- Changes ------------------------------------------------------------------------------------

AdapterLifecycle::RestoreReport AdapterLifecycle::Restore() {
  return impl_->Saved(impl_->restoring.Restore());
}

absl::StatusOr<AdapterLifecycle::LoadResult> AdapterLifecycle::Load(
    const std::string& name, const std::string& path, std::string_view expected_sha256,
    const LoadOptions& options) {
  return impl_->Saved(impl_->loading.Load(name, path, expected_sha256, options));
}

absl::StatusOr<AdapterLifecycle::LoadResult> AdapterLifecycle::Load(
    const std::string& name, const std::string& path, std::string_view expected_sha256) {
  return Load(name, path, expected_sha256, LoadOptions());
}

absl::StatusOr<AdapterLifecycle::LoadResult> AdapterLifecycle::LoadUpload(
    const std::string& name, const std::string& path, std::string_view expected_sha256,
    const LoadOptions& options) {
  return impl_->Saved(impl_->loading.LoadUpload(name, path, expected_sha256, options));
}

UploadStore* AdapterLifecycle::uploads() {
  impl_->removal.RemoveNow();  // the caller may need the room
  return impl_->uploads.get();
}

absl::StatusOr<std::unique_ptr<UploadStore::Upload>> AdapterLifecycle::BeginUpload(
    UploadManifest manifest) {
  while (true) {
    impl_->removal.RemoveNow();
    absl::StatusOr<std::unique_ptr<UploadStore::Upload>> upload = impl_->uploads->Begin(manifest);
    if (!absl::IsResourceExhausted(upload.status())) return upload;
    if (!impl_->catalog.EndRecent(FileOwner::kUpload)) return upload;
    impl_->saver.Save();
  }
}

absl::StatusOr<AdapterLifecycle::BlendResult> AdapterLifecycle::CreateBlend(
    const std::string& name, absl::Span<const AdapterSelectionTerm> parts,
    const FusionOptions& options, const std::string& save_path) {
  return impl_->Saved(impl_->blending.Create(name, parts, options, save_path));
}

absl::Status AdapterLifecycle::Unload(const std::string& name, SteadyTime deadline,
                                      absl::FunctionRef<void(const AdapterInfo&)> on_unloading,
                                      absl::FunctionRef<bool()> is_cancelled) {
  return impl_->Saved(impl_->unloading.Unload(name, deadline, on_unloading, is_cancelled));
}

absl::Status AdapterLifecycle::Unload(const std::string& name, const UnloadOptions& options) {
  const auto on_unloading = [&](const AdapterInfo& info) {
    if (options.cancel_running) impl_->options.cancel_users(info.adapter->digest);
  };
  return Unload(name, options.deadline, on_unloading, options.is_cancelled);
}

absl::StatusOr<AdapterInfo> AdapterLifecycle::PinInMemory(std::string_view name) {
  return impl_->Saved(impl_->Pin(name));
}

absl::StatusOr<AdapterInfo> AdapterLifecycle::Unpin(std::string_view name) {
  return impl_->Saved(impl_->Unpin(name));
}

absl::StatusOr<AliasInfo> AdapterLifecycle::SetAlias(const std::string& alias,
                                                     std::string_view target) {
  return impl_->Saved(impl_->Refreshed(impl_->catalog.SetAlias(alias, target)));
}

absl::StatusOr<AliasInfo> AdapterLifecycle::RollbackAlias(std::string_view alias) {
  return impl_->Saved(impl_->Refreshed(impl_->catalog.RollbackAlias(alias)));
}

absl::Status AdapterLifecycle::DeleteAlias(std::string_view alias) {
  return impl_->Saved(impl_->catalog.DeleteAlias(alias));
}

absl::Status AdapterLifecycle::SetDefault(absl::Span<const AdapterSelectionTerm> terms) {
  return impl_->Saved(impl_->default_change.Set(terms));
}

DefaultChangeResult AdapterLifecycle::MakeDefault(absl::Span<const AdapterSelectionTerm> terms,
                                                  SteadyTime deadline) {
  return impl_->Saved(impl_->default_change.Make(terms, deadline, impl_));
}

// ---- Uses ---------------------------------------------------------------------------------------

absl::StatusOr<std::vector<AdapterRef>> AdapterLifecycle::Resolve(
    absl::Span<const AdapterSelectionTerm> terms) const {
  return impl_->catalog.Resolve(terms);
}

absl::StatusOr<std::vector<AdapterRef>> AdapterLifecycle::ResolveDefault() const {
  return impl_->catalog.ResolveDefault();
}

absl::StatusOr<StateHandle> AdapterLifecycle::Acquire(
    absl::Span<const AdapterSelectionTerm> terms) {
  return impl_->states.Acquire(terms, impl_);
}

absl::StatusOr<StateHandle> AdapterLifecycle::Hold(absl::Span<const AdapterSelectionTerm> terms) {
  return impl_->states.Hold(terms, impl_);
}

absl::StatusOr<StateHandle> AdapterLifecycle::HoldDefault() {
  return impl_->states.HoldDefault(impl_);
}

absl::StatusOr<StateHandle> AdapterLifecycle::AcquireDefault() {
  return impl_->states.AcquireDefault(impl_);
}

absl::StatusOr<std::shared_ptr<const SparseAdapter>> AdapterLifecycle::Deltas(
    std::string_view name) {
  SHIRA_ASSIGN_OR_RETURN(const Catalog::Uses uses, impl_->catalog.LookAt(name));
  return impl_->states.DeltasOf(uses.versions().front());
}

// ---- Views --------------------------------------------------------------------------------------

std::optional<AdapterInfo> AdapterLifecycle::Get(std::string_view name) const {
  return impl_->views.Get(name);
}

std::vector<AdapterInfo> AdapterLifecycle::List() const { return impl_->views.List(); }

std::vector<AliasInfo> AdapterLifecycle::Aliases() const { return impl_->catalog.Aliases(); }

std::vector<AdapterRef> AdapterLifecycle::Describe(const StateKey& key) const {
  std::vector<AdapterRef> adapters;
  for (const StateTerm& term : key.terms()) {
    adapters.push_back({/*name=*/"", /*version=*/0, term.adapter, term.weight});
  }
  impl_->catalog.FindNames(adapters);
  return adapters;
}

std::vector<AdapterRef> AdapterLifecycle::DefaultState() const {
  return impl_->catalog.DefaultState();
}

int64_t AdapterLifecycle::memory_in_use_bytes() const { return impl_->memory.in_use_bytes(); }

std::vector<std::string> AdapterLifecycle::Violations() const {
  return impl_->catalog.Violations();
}

LifecycleStats AdapterLifecycle::stats() const {
  LifecycleStats stats;
  static_cast<LoadCounts&>(stats) = impl_->book.counts();
  static_cast<UseCounts&>(stats) = impl_->states.counts();
  stats.unloads = impl_->ends.versions_ended();
  for (const Catalog::Entry& entry : impl_->catalog.List()) {
    const bool is_ready = entry.info.state == AdapterState::kReady;
    stats.pinned += entry.info.pinned;
    stats.in_memory += is_ready && impl_->views.IsInMemory(entry);
  }
  stats.aliases = static_cast<int64_t>(impl_->catalog.Aliases().size());
  stats.evicted_states = impl_->memory.evicted_states();
  stats.evicted_deltas = impl_->memory.evicted_deltas();
  stats.memory_in_use_bytes = impl_->memory.in_use_bytes();
  stats.memory_budget_bytes = impl_->options.memory_budget_bytes;
  if (impl_->uploads != nullptr) {
    stats.upload_in_use_bytes = impl_->uploads->in_use_bytes();
    stats.upload_quota_bytes = impl_->uploads->quota_bytes();
  }
  stats.unsaved_changes = impl_->saver.unsaved_changes();
  return stats;
}

}  // namespace shira
