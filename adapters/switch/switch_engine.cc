#include "adapters/switch/switch_engine.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_format.h"
#include "adapters/switch/scatter.h"
#include "adapters/switch/state_compiler.h"
#include "base/problem_list.h"
#include "base/status_macros.h"
#include "base/steady_clock.h"
#include "base/strings.h"

namespace shira {
namespace {

// The entry of `state` for a parameter, or nullptr.
const CompiledParameter* FindParameter(const CompiledState& state, int64_t parameter) {
  const auto found = std::lower_bound(
      state.parameters.begin(), state.parameters.end(), parameter,
      [](const CompiledParameter& p, int64_t wanted) { return p.parameter < wanted; });
  return found != state.parameters.end() && found->parameter == parameter ? &*found : nullptr;
}

// The terms of each touched parameter, in the canonical order of the adapters. Reports parameters
// that do not exist or do not fit.
absl::StatusOr<std::vector<std::vector<FusionTerm>>> TermsByParameter(
    const ParameterMap& parameters, absl::Span<const WeightedAdapterRef> adapters) {
  std::vector<std::vector<FusionTerm>> terms(parameters.parameters().size());
  ProblemList missing;
  ProblemList misshapen;
  for (const WeightedAdapterRef& ref : adapters) {
    const float factor = static_cast<float>(ref.weight * ref.adapter->scale);
    for (const ParameterDelta& delta : ref.adapter->deltas) {
      const int64_t index = parameters.Find(delta.parameter);
      if (index < 0) {
        missing.Add(delta.parameter, ": no such parameter");
        continue;
      }
      const ParameterShape& resident = parameters.parameters()[index];
      if (delta.table->rows() != resident.rows || delta.table->cols() != resident.cols) {
        misshapen.Add(delta.parameter, ": expected [", resident.rows, ", ", resident.cols,
                      "], found [", delta.table->rows(), ", ", delta.table->cols(), "]");
        continue;
      }
      terms[index].push_back({&delta, factor});
    }
  }
  SHIRA_RETURN_IF_ERROR(misshapen.ToStatus(absl::StatusCode::kFailedPrecondition, "adapter"));
  SHIRA_RETURN_IF_ERROR(missing.ToStatus(absl::StatusCode::kNotFound, "adapter"));
  return terms;
}

}  // namespace

SwitchEngine::SwitchEngine(WeightMemory& memory, Options options)
    : memory_(memory),
      options_(std::move(options)),
      base_(std::make_shared<CompiledState>()),
      base_hashes_(memory.parameters().parameters().size()),
      resident_(base_) {
  options_.parallel_for(base_hashes_.size(), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) base_hashes_[i] = memory_.Hash(i, nullptr);
  });
  Sha256 hash;
  for (size_t i = 0; i < base_hashes_.size(); ++i) {
    const std::string& name = parameters().parameters()[i].name;
    hash.UpdateU64(name.size()).Update(name).Update(base_hashes_[i].Hex());
  }
  base_digest_ = hash.Finish();
}

absl::StatusOr<std::shared_ptr<const CompiledState>> SwitchEngine::Compile(
    std::vector<WeightedAdapterRef> adapters) {
  if (adapters.empty()) return base_;
  auto state = std::make_shared<CompiledState>();
  std::vector<StateTerm> key;
  for (const WeightedAdapterRef& ref : adapters) key.push_back({ref.adapter->digest, ref.weight});
  SHIRA_ASSIGN_OR_RETURN(state->key, StateKey::Create(std::move(key)));
  std::sort(adapters.begin(), adapters.end(),
            [](const WeightedAdapterRef& a, const WeightedAdapterRef& b) {
              return a.adapter->digest < b.adapter->digest;
            });

  SHIRA_ASSIGN_OR_RETURN(const auto terms_by_parameter, TermsByParameter(parameters(), adapters));
  for (size_t i = 0; i < terms_by_parameter.size(); ++i) {
    const std::vector<FusionTerm>& terms = terms_by_parameter[i];
    if (terms.empty()) continue;
    int64_t entries = 0;
    for (const FusionTerm& term : terms) entries += term.delta->table->entries();
    // Fused values and originals, and for several terms a table of their union.
    const int64_t bytes = static_cast<int64_t>(entries * 2 * parameters().element_bytes()) +
                          (terms.size() > 1 ? entries * 4 : 0);
    SHIRA_RETURN_IF_ERROR(options_.reserve(bytes));

    CompiledParameter compiled;
    compiled.parameter = static_cast<int64_t>(i);
    SHIRA_ASSIGN_OR_RETURN(compiled.table, UnionTable(terms));
    compiled.originals = Originals(compiled.parameter, *compiled.table);
    SHIRA_ASSIGN_OR_RETURN(compiled.fused,
                           FuseValues(parameters().parameters()[i].name, parameters().dtype(),
                                      *compiled.table, *compiled.originals, terms));
    state->parameters.push_back(std::move(compiled));
  }
  return std::shared_ptr<const CompiledState>(std::move(state));
}

std::shared_ptr<const ElementBuffer> SwitchEngine::Originals(int64_t parameter,
                                                             const IndexTable& table) {
  const OriginalsKey key(parameter, table.digest());
  {
    absl::MutexLock lock(&originals_mutex_);
    if (std::shared_ptr<const ElementBuffer> shared = originals_.Find(key)) return shared;
  }
  const size_t element_bytes = parameters().element_bytes();
  auto gathered = std::make_shared<ElementBuffer>(table.entries() * element_bytes);
  {
    absl::ReaderMutexLock lock(&mutex_);
    memory_.Gather(parameter, table, gathered->data());
    // Where the resident state has written, its saved originals are the pristine values.
    if (const CompiledParameter* fused = FindParameter(*resident_, parameter)) {
      CopyCommon(*fused->table, fused->originals->data(), table, gathered->data(), element_bytes);
    }
  }
  absl::MutexLock lock(&originals_mutex_);
  return originals_.Intern(key, std::move(gathered));  // or another thread's, which was faster
}

SwitchStats SwitchEngine::Apply(std::shared_ptr<const CompiledState> state) {
  SwitchStats stats;
  // Releases the old state after the lock: freeing its tables is not the readers' concern.
  std::shared_ptr<const CompiledState> previous;
  absl::WriterMutexLock lock(&mutex_);
  if (state->key == resident_->key) return stats;
  const SteadyTime start = SteadyNow();
  stats.written = memory_.Transition(*resident_, *state);
  previous = std::exchange(resident_, std::move(state));
  stats.duration = SteadyNow() - start;
  return stats;
}

std::shared_ptr<const CompiledState> SwitchEngine::resident() const {
  absl::ReaderMutexLock lock(&mutex_);
  return resident_;
}

absl::Status SwitchEngine::ReadPristine(int64_t parameter, int64_t first_row, int64_t last_row,
                                        absl::Span<std::byte> out) const {
  const size_t element_bytes = parameters().element_bytes();
  absl::ReaderMutexLock lock(&mutex_);
  memory_.Read(parameter, first_row, last_row, out);
  const CompiledParameter* fused = FindParameter(*resident_, parameter);
  if (fused == nullptr) return absl::OkStatus();
  bool intact = true;
  fused->table->ForEachInRows(first_row, last_row, [&](uint32_t entry, int64_t position) {
    std::byte* element = out.data() + position * element_bytes;
    intact &= std::memcmp(element, fused->fused.data() + entry * element_bytes, element_bytes) == 0;
    std::memcpy(element, fused->originals->data() + entry * element_bytes, element_bytes);
  });
  if (intact) return absl::OkStatus();
  return absl::DataLossError(StrCat(parameters().parameters()[parameter].name,
                                    " is not what the resident state has written to it"));
}

VerifyReport SwitchEngine::Verify() const {
  absl::ReaderMutexLock lock(&mutex_);
  VerifyReport report;
  report.state = resident_->key;
  report.parameters.resize(base_hashes_.size());
  const std::shared_ptr<const CompiledState> resident = resident_;
  options_.parallel_for(base_hashes_.size(), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      ParameterHashes& hashes = report.parameters[i];
      hashes.name = parameters().parameters()[i].name;
      hashes.base = base_hashes_[i];
      hashes.resident = memory_.Hash(i, nullptr);
      const CompiledParameter* fused = FindParameter(*resident, i);
      if (fused == nullptr) {
        hashes.expected = hashes.base;
        continue;
      }
      const ElementOverlay originals = {fused->table.get(), fused->originals->data()};
      if (memory_.Hash(i, &originals) != hashes.base) continue;
      const ElementOverlay written = {fused->table.get(), fused->fused.data()};
      hashes.expected = memory_.Hash(i, &written);
    }
  });
  const auto& all = report.parameters;
  report.matches_base = std::all_of(all.begin(), all.end(), [](const ParameterHashes& hashes) {
    return hashes.resident == hashes.base;
  });
  report.matches_expected = std::all_of(all.begin(), all.end(), [](const ParameterHashes& hashes) {
    return hashes.resident == hashes.expected;
  });
  return report;
}

}  // namespace shira
