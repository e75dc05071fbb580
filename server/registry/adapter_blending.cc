#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "adapters/format/adapter_writer.h"
#include "base/status_macros.h"
#include "base/strings.h"
#include "server/registry/adapter_name.h"
#include "server/registry/adapter_registry_impl.h"

namespace shira {

namespace {

// Whether two adapters give the same bits to every state.
bool HaveEqualDeltas(const SparseAdapter& a, const SparseAdapter& b) {
  const auto equal = [](const ParameterDelta& x, const ParameterDelta& y) {
    return x.parameter == y.parameter && x.kind == y.kind &&
           x.table->digest() == y.table->digest() &&
           std::memcmp(x.values.data(), y.values.data(), x.values.size() * sizeof(float)) == 0;
  };
  return a.scale == b.scale && a.rounds_values == b.rounds_values &&
         std::equal(a.deltas.begin(), a.deltas.end(), b.deltas.begin(), b.deltas.end(), equal);
}

}  // namespace

absl::StatusOr<AdapterRegistry::BlendResult> AdapterRegistry::Impl::CreateBlend(
    const std::string& name, absl::Span<const AdapterSelectionTerm> parts,
    const FusionOptions& options, const std::string& save_path) {
  SHIRA_RETURN_IF_ERROR(ValidateAdapterName(name));
  std::string path;
  if (!save_path.empty()) {
    SHIRA_ASSIGN_OR_RETURN(path, paths_.ResolveNew(save_path));
  }
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
  SHIRA_ASSIGN_OR_RETURN(const RecordPtr record, BeginLoad(name, path));

  absl::StatusOr<FusionResult> blend = BlendPinned(options, parts, sources);
  std::shared_ptr<const AdapterSummary> loaded;
  {
    absl::MutexLock lock(&mutex_);
    loaded = record->adapter;
  }
  absl::Status status = blend.status();
  if (loaded == nullptr) {
    Backing backing;
    if (status.ok()) status = MakeBlendReady(blend->adapter, path, backing);
    using Adapter = absl::StatusOr<std::shared_ptr<const SparseAdapter>>;
    const Adapter adapter = status.ok() ? Adapter(blend->adapter) : Adapter(status);
    SHIRA_ASSIGN_OR_RETURN(LoadResult result,
                           FinishLoad(record, start, adapter, std::move(backing)));
    return BlendResult{std::move(result.info), std::move(blend->report)};
  }

  if (status.ok() && digest != loaded->digest) {
    status = absl::AlreadyExistsError(StrCat("adapter '", name, "' is loaded with SHA-256 ",
                                             loaded->digest.Hex(), ", but this blend has ",
                                             digest.Hex(), ": unload it first"));
  }
  // A further copy: the record's backing stays what it is.
  if (status.ok() && !path.empty()) status = SaveBlend(blend->adapter, path).status();
  const std::shared_ptr<const CompiledState> resident = engine_.resident();
  absl::MutexLock lock(&mutex_);
  record->load_running = false;
  SHIRA_RETURN_IF_ERROR(status);
  return BlendResult{Describe(*record, resident->key), std::move(blend->report),
                     /*already_created=*/true};
}

absl::Status AdapterRegistry::Impl::MakeBlendReady(
    const std::shared_ptr<const SparseAdapter>& blend, const std::string& path, Backing& backing) {
  SHIRA_ASSIGN_OR_RETURN(backing.held, memory_.HoldDeltas(blend));
  SHIRA_RETURN_IF_ERROR(CompileOwnState(backing.held));
  if (path.empty()) return absl::OkStatus();
  // Last, so that nothing is left on the disk of a blend that did not come to be.
  absl::StatusOr<Backing> saved = SaveBlend(backing.held, path);
  if (!saved.ok()) {
    absl::MutexLock lock(&mutex_);
    DropUnlessLoaded(blend->digest);
    return saved.status();
  }
  backing = *std::move(saved);
  return absl::OkStatus();
}

absl::StatusOr<AdapterRegistry::Impl::Backing> AdapterRegistry::Impl::SaveBlend(
    const std::shared_ptr<const SparseAdapter>& blend, const std::string& path) const {
  SHIRA_ASSIGN_OR_RETURN(const AdapterWriter* writer, FindAdapterWriter(/*name=*/"", path));
  AdapterWriteOptions options;
  options.tool = "shira-server";
  SHIRA_RETURN_IF_ERROR(writer->write(*blend, path, options));
  SHIRA_ASSIGN_OR_RETURN(const std::shared_ptr<const SparseAdapter> file, reader_.Read(path));
  return Backing{HaveEqualDeltas(*blend, *file) ? nullptr : blend, file->digest};
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
