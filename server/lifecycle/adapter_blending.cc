#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "adapters/format/adapter_writer.h"
#include "base/out_of_memory.h"
#include "base/status_macros.h"
#include "base/steady_clock.h"
#include "base/strings.h"
#include "server/catalog/adapter_name.h"
#include "server/lifecycle/adapter_lifecycle_impl.h"

namespace shira {

namespace {

constexpr std::string_view kPackedSuffix = ".shira";

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

absl::StatusOr<AdapterLifecycle::BlendResult> AdapterLifecycle::Impl::CreateBlend(
    const std::string& name, absl::Span<const AdapterSelectionTerm> parts,
    const FusionOptions& options, const std::string& save_path) {
  SHIRA_RETURN_IF_ERROR(ValidateAdapterName(name));
  std::string path;
  if (!save_path.empty()) {
    SHIRA_ASSIGN_OR_RETURN(path, client_paths_.ResolveNew(save_path));
  }
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
  SHIRA_ASSIGN_OR_RETURN(const LoadTurn turn, BeginLoad(name, path, /*key=*/""));
  FusionReport report;
  absl::StatusOr<LoadResult> result = CatchOutOfMemory([&]() -> absl::StatusOr<LoadResult> {
    const SteadyTime start = SteadyNow();
    absl::StatusOr<FusionResult> blend =
        CatchOutOfMemory([&] { return BlendPinned(options, parts, sources); });
    if (!blend.ok()) return Publish(turn.record, start, blend.status(), {});
    report = std::move(blend->report);
    SHIRA_ASSIGN_OR_RETURN(const Novelty novelty,
                           NoveltyOf(turn.record, digest, /*replace=*/false, "this blend"));
    if (novelty == Novelty::kSame) {
      // A further copy: the record's backing stays what it is.
      if (!path.empty()) {
        SHIRA_RETURN_IF_ERROR(SaveBlend(blend->adapter, path, FileOwner::kUser).status());
      }
      const std::shared_ptr<const CompiledState> resident = engine_.resident();
      absl::MutexLock lock(&mutex_);
      return LoadResult{Describe(*turn.record, resident->key), /*already_loaded=*/true};
    }
    absl::StatusOr<DeltaBacking> backing =
        CatchOutOfMemory([&] { return MakeBlendReady(blend->adapter, path); });
    if (!backing.ok()) return Publish(turn.record, start, backing.status(), {});
    return Publish(turn.record, start, blend->adapter, *std::move(backing));
  });
  EndTurn(turn, result);
  SHIRA_RETURN_IF_ERROR(result.status());
  return BlendResult{std::move(result->info), std::move(report), result->already_loaded};
}

absl::StatusOr<DeltaBacking> AdapterLifecycle::Impl::MakeBlendReady(const AdapterPtr& blend,
                                                                   const std::string& path) {
  SHIRA_ASSIGN_OR_RETURN(AdapterPtr held, memory_.HoldDeltas(blend));
  SHIRA_RETURN_IF_ERROR(CompileOwnState(held).status());
  // Last, so that nothing is left on the disk of a blend that did not come to be.
  absl::StatusOr<DeltaBacking> saved = DeltaBacking{.held = held};
  std::string own_path;
  // A packed file holds a blend exactly, so that no other is needed.
  if (store_ != nullptr && !path.ends_with(kPackedSuffix)) {
    own_path = store_->NewBlendPath();
    saved = SaveBlend(held, own_path, FileOwner::kBlend);
  }
  if (saved.ok() && !path.empty()) {
    absl::StatusOr<DeltaBacking> wanted = SaveBlend(held, path, FileOwner::kUser);
    if (!wanted.ok() || own_path.empty()) {
      saved = std::move(wanted);
    }
  }
  if (!saved.ok()) {
    if (!own_path.empty()) RemoveFiles(FileOwner::kBlend, own_path);
    absl::MutexLock lock(&mutex_);
    DropUnlessLoaded(blend->digest);
    return saved.status();
  }
  saved->path = path;
  return saved;
}

absl::StatusOr<DeltaBacking> AdapterLifecycle::Impl::SaveBlend(const AdapterPtr& blend,
                                                              const std::string& path,
                                                              FileOwner owner) const {
  SHIRA_ASSIGN_OR_RETURN(const AdapterWriter* writer, FindAdapterWriter(/*name=*/"", path));
  AdapterWriteOptions options;
  options.tool = "shira-server";
  SHIRA_RETURN_IF_ERROR(writer->write(*blend, path, options));
  SHIRA_ASSIGN_OR_RETURN(const AdapterPtr file, reader_.Read(path));
  if (!HaveEqualDeltas(*blend, *file)) return DeltaBacking{.path = path, .held = blend};
  return DeltaBacking{path, path, file->digest, owner, nullptr};
}

absl::StatusOr<FusionResult> AdapterLifecycle::Impl::BlendPinned(
    const FusionOptions& options, absl::Span<const AdapterSelectionTerm> parts,
    absl::Span<const DeltaSource> sources) {
  std::vector<FusionOperand> operands;
  for (size_t i = 0; i < parts.size(); ++i) {
    SHIRA_ASSIGN_OR_RETURN(DeltaSupplier::Supply supply, deltas_.Get(sources[i]));
    operands.push_back({parts[i].name, std::move(supply.deltas), parts[i].weight});
  }
  return Blend(options, std::move(operands), reader_.tables());
}

}  // namespace shira
