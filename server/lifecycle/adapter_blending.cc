#include "server/lifecycle/adapter_blending.h"

#include <algorithm>
#include <cstring>
#include <string_view>
#include <utility>
#include <vector>

#include "adapters/format/adapter_writer.h"
#include "base/out_of_memory.h"
#include "base/status_macros.h"
#include "base/steady_clock.h"
#include "server/catalog/adapter_name.h"

namespace shira {
namespace {

using AdapterPtr = std::shared_ptr<const SparseAdapter>;

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

absl::StatusOr<AdapterBlendResult> AdapterBlending::Create(
    const std::string& name, absl::Span<const AdapterSelectionTerm> terms,
    const FusionOptions& options, const std::string& save_path) {
  SHIRA_RETURN_IF_ERROR(ValidateAdapterName(name));
  std::string path;
  if (!save_path.empty()) {
    SHIRA_ASSIGN_OR_RETURN(path, parts_.sources.ResolveNew(save_path));
  }
  SHIRA_ASSIGN_OR_RETURN(const Catalog::Uses uses, parts_.catalog.Use(terms));
  std::vector<StateTerm> parts;
  for (const Catalog::Uses::Version& version : uses.versions()) {
    parts.push_back({version.summary->digest, version.weight});
  }
  SHIRA_ASSIGN_OR_RETURN(const Sha256Digest digest, BlendDigest(options, std::move(parts)));
  SHIRA_ASSIGN_OR_RETURN(const Catalog::LoadTurn turn, parts_.catalog.BeginLoad(name, path));
  FusionReport report;
  absl::StatusOr<AdapterLoadResult> result = CatchOutOfMemory(
      [&] { return CreateAlone(uses, options, terms, digest, path, turn, report); });
  parts_.catalog.EndLoad(turn);
  SHIRA_RETURN_IF_ERROR(result.status());
  return AdapterBlendResult{std::move(result->info), std::move(report), result->already_loaded};
}

absl::StatusOr<AdapterLoadResult> AdapterBlending::CreateAlone(
    const Catalog::Uses& uses, const FusionOptions& options,
    absl::Span<const AdapterSelectionTerm> terms, const Sha256Digest& digest,
    const std::string& path, const Catalog::LoadTurn& turn, FusionReport& report) {
  const SteadyTime start = SteadyNow();
  absl::StatusOr<FusionResult> blend =
      CatchOutOfMemory([&] { return BlendUsed(options, terms, uses); });
  if (!blend.ok()) return parts_.loading.Finish(turn, start, blend.status(), {}, nullptr);
  report = std::move(blend->report);
  SHIRA_ASSIGN_OR_RETURN(const Catalog::Novelty novelty,
                         parts_.catalog.NoveltyOf(turn, digest, /*replace=*/false, "this blend"));
  if (novelty == Catalog::Novelty::kSame) {
    // A further copy: the version's origin stays what it is.
    if (!path.empty()) {
      SHIRA_RETURN_IF_ERROR(Save(blend->adapter, path, FileOwner::kUser).status());
    }
    return AdapterLoadResult{parts_.views.InfoOf(parts_.catalog.EntryOf(turn)),
                             /*already_loaded=*/true};
  }
  absl::StatusOr<Backing> backing =
      CatchOutOfMemory([&] { return MakeReady(blend->adapter, path); });
  if (!backing.ok()) return parts_.loading.Finish(turn, start, backing.status(), {}, nullptr);
  return parts_.loading.Finish(turn, start, blend->adapter, std::move(backing->origin),
                               std::move(backing->held));
}

absl::StatusOr<AdapterBlending::Backing> AdapterBlending::MakeReady(const AdapterPtr& blend,
                                                                    const std::string& path) {
  SHIRA_ASSIGN_OR_RETURN(AdapterPtr held, parts_.memory.HoldDeltas(blend));
  SHIRA_RETURN_IF_ERROR(parts_.states.CompileOwn(held).status());
  // Last, so that nothing is left on the disk of a blend that did not come to be.
  absl::StatusOr<Backing> saved = Backing{.origin = {}, .held = held};
  std::string own_path;
  // A packed file holds a blend exactly, so that no other is needed.
  if (parts_.store != nullptr && !path.ends_with(kPackedSuffix)) {
    own_path = parts_.store->NewBlendPath();
    saved = Save(held, own_path, FileOwner::kBlend);
  }
  if (saved.ok() && !path.empty()) {
    absl::StatusOr<Backing> wanted = Save(held, path, FileOwner::kUser);
    if (!wanted.ok() || own_path.empty()) saved = std::move(wanted);
  }
  if (!saved.ok()) {
    if (!own_path.empty()) parts_.removal.Remove(FileOwner::kBlend, own_path);
    if (!parts_.catalog.HasContent(blend->digest)) parts_.ends.Forget(blend->digest);
    return saved.status();
  }
  saved->origin.path = path;
  return saved;
}

absl::StatusOr<AdapterBlending::Backing> AdapterBlending::Save(const AdapterPtr& blend,
                                                               const std::string& path,
                                                               FileOwner owner) {
  SHIRA_ASSIGN_OR_RETURN(const AdapterWriter* writer, FindAdapterWriter(/*name=*/"", path));
  AdapterWriteOptions options;
  options.tool = "shira-server";
  SHIRA_RETURN_IF_ERROR(writer->write(*blend, path, options));
  SHIRA_ASSIGN_OR_RETURN(const AdapterPtr file, parts_.sources.Read(path));
  if (!HaveEqualDeltas(*blend, *file)) return Backing{.origin = {.path = path}, .held = blend};
  return Backing{.origin = {path, path, file->digest, owner}, .held = nullptr};
}

absl::StatusOr<FusionResult> AdapterBlending::BlendUsed(
    const FusionOptions& options, absl::Span<const AdapterSelectionTerm> terms,
    const Catalog::Uses& uses) {
  std::vector<FusionOperand> operands;
  for (size_t i = 0; i < terms.size(); ++i) {
    SHIRA_ASSIGN_OR_RETURN(AdapterPtr deltas, parts_.states.DeltasOf(uses.versions()[i]));
    operands.push_back({terms[i].name, std::move(deltas), terms[i].weight});
  }
  return Blend(options, std::move(operands), parts_.sources.reader().tables());
}

}  // namespace shira
