#include <utility>

#include "absl/cleanup/cleanup.h"
#include "base/status_macros.h"
#include "base/strings.h"
#include "server/registry/adapter_name.h"
#include "server/registry/adapter_registry_impl.h"

namespace shira {

absl::StatusOr<AdapterRegistry::BlendResult> AdapterRegistry::Impl::CreateBlend(
    const std::string& name, absl::Span<const AdapterSelectionTerm> parts,
    const FusionOptions& options) {
  SHIRA_RETURN_IF_ERROR(ValidateAdapterName(name));
  const absl::Time start = absl::Now();
  std::vector<RecordPtr> records;
  std::vector<DeltaSource> sources;
  std::vector<StateTerm> terms;
  {
    absl::MutexLock lock(&mutex_);
    SHIRA_ASSIGN_OR_RETURN(records, FindReady(parts));
    for (size_t i = 0; i < parts.size(); ++i) {
      sources.push_back(records[i]->source());
      terms.push_back({sources[i].digest, parts[i].weight});
    }
    PinRecords(records);
  }
  const absl::Cleanup unpin = [&] { UnpinRecords(records); };
  SHIRA_ASSIGN_OR_RETURN(const Sha256Digest digest, BlendDigest(options, std::move(terms)));
  SHIRA_ASSIGN_OR_RETURN(const RecordPtr record, BeginLoad(name, /*path=*/""));

  absl::StatusOr<FusionResult> blend = BlendPinned(options, parts, sources);
  std::shared_ptr<const AdapterSummary> loaded;
  {
    absl::MutexLock lock(&mutex_);
    loaded = record->adapter;
  }
  if (loaded == nullptr) {
    absl::StatusOr<std::shared_ptr<const SparseAdapter>> held =
        blend.status().ok() ? memory_.HoldDeltas(blend->adapter)
                            : absl::StatusOr<std::shared_ptr<const SparseAdapter>>(blend.status());
    if (held.ok()) {
      if (absl::Status compiled = CompileOwnState(*held); !compiled.ok()) held = compiled;
    }
    SHIRA_ASSIGN_OR_RETURN(LoadResult result,
                           FinishLoad(record, start, held, held.ok() ? *held : nullptr));
    return BlendResult{std::move(result.info), std::move(blend->report)};
  }

  const std::shared_ptr<const CompiledState> resident = engine_.resident();
  absl::MutexLock lock(&mutex_);
  record->load_running = false;
  SHIRA_RETURN_IF_ERROR(blend.status());
  if (digest != loaded->digest) {
    return absl::AlreadyExistsError(StrCat("adapter '", name, "' is loaded with SHA-256 ",
                                           loaded->digest.Hex(), ", but this blend has ",
                                           digest.Hex(), ": unload it first"));
  }
  return BlendResult{Describe(*record, resident->key), std::move(blend->report),
                     /*already_created=*/true};
}

absl::StatusOr<FusionResult> AdapterRegistry::Impl::BlendPinned(
    const FusionOptions& options, absl::Span<const AdapterSelectionTerm> parts,
    absl::Span<const DeltaSource> sources) {
  std::vector<FusionOperand> operands;
  for (size_t i = 0; i < parts.size(); ++i) {
    SHIRA_ASSIGN_OR_RETURN(auto deltas, deltas_.Get(sources[i]));
    operands.push_back({parts[i].name, std::move(deltas), parts[i].weight});
  }
  return Blend(options, std::move(operands), reader_.tables());
}

}  // namespace shira
