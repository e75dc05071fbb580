#include "adapters/format/adapter_reader.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <string_view>
#include <utility>
#include <variant>

#include "absl/status/status.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "adapters/format/adapter_files.h"
#include "adapters/format/adapter_format.h"
#include "adapters/format/base_name.h"
#include "adapters/format/delta_validator.h"
#include "adapters/format/whole_tensors.h"
#include "base/excerpt.h"
#include "base/problem_list.h"
#include "base/safetensors.h"
#include "base/sha256.h"
#include "base/status_macros.h"
#include "base/strings.h"

namespace shira {
namespace {

// Of the name that an adapter's file gives its base model; kept while the adapter is loaded.
constexpr size_t kMaxBaseModelBytes = 4096;
// Of an error: whatever is in a file can be in it.
constexpr size_t kMaxErrorBytes = 16'000;

bool IsFrozen(const RawDelta& delta) {
  const auto* whole = std::get_if<EveryPosition>(&delta.positions);
  return whole != nullptr && whole->role == EveryPosition::Role::kFrozen;
}

}  // namespace

AdapterReader::AdapterReader(BaseModelIdentity base, AdapterLimits limits)
    : base_(std::move(base)), limits_(limits) {}

absl::StatusOr<std::shared_ptr<const SparseAdapter>> AdapterReader::Read(
    const std::string& path) const {
  const absl::StatusOr<AdapterFiles> files = ReadAdapterFiles(path, limits_.max_file_bytes);
  using Result = absl::StatusOr<std::shared_ptr<const SparseAdapter>>;
  Result adapter = files.ok() ? Parse(*files) : Result(files.status());
  if (adapter.ok()) return adapter;
  return absl::Status(adapter.status().code(),
                      Excerpt(ToStd(adapter.status().message()), kMaxErrorBytes));
}

absl::StatusOr<std::shared_ptr<const SparseAdapter>> AdapterReader::Parse(
    const AdapterFiles& files) const {
  SHIRA_ASSIGN_OR_RETURN(const Safetensors tensors, files.ParseTensors());
  SHIRA_ASSIGN_OR_RETURN(const AdapterFormat* format, FindAdapterFormat(files, tensors));
  SHIRA_ASSIGN_OR_RETURN(RawAdapter raw, format->read(files, tensors));

  SHIRA_RETURN_IF_ERROR(CheckBase(raw, files));
  for (RawDelta& delta : raw.deltas) {
    const auto own = base_.renamed.find(delta.parameter);
    if (own != base_.renamed.end()) delta.parameter = own->second;
  }
  ProblemList problems;
  SettleWholeTensors(base_, raw, problems);
  int64_t entries = 0;
  for (const RawDelta& delta : raw.deltas) entries += delta.values.elements();
  if (entries > limits_.max_entries) {
    return absl::InvalidArgumentError(absl::StrFormat("%s: expected at most %d entries, found %d",
                                                      files.tensors_path, limits_.max_entries,
                                                      entries));
  }

  auto adapter = std::make_shared<SparseAdapter>();
  if (raw.deltas.empty() && problems.empty()) {
    problems.Add("no parameter of the model is touched");
  }
  const std::optional<DType> round_to = raw.rounds_values ? base_.dtype : std::nullopt;
  std::map<std::string_view, const RawDelta*> frozen;
  for (const RawDelta& delta : raw.deltas) {
    if (IsFrozen(delta) && !frozen.emplace(delta.parameter, &delta).second) {
      problems.Add(delta.parameter, ": occurs twice");
    }
  }
  std::set<std::string_view> seen;
  for (const RawDelta& delta : raw.deltas) {
    if (IsFrozen(delta)) continue;
    if (!seen.insert(delta.parameter).second) {
      problems.Add(delta.parameter, ": occurs twice");
      continue;
    }
    std::optional<ParameterDelta> valid = ValidateDelta(delta, base_, round_to, problems);
    if (!valid.has_value()) continue;
    if (const auto beneath = frozen.find(delta.parameter); beneath != frozen.end()) {
      // PEFT loads it into the base, which rounds it, and adds the values to that.
      auto whole = ValidateDelta(*beneath->second, base_, base_.dtype, problems);
      if (!whole.has_value()) continue;
      valid = AddToWhole(*std::move(whole), *valid);
    }
    valid->table = tables_.Intern(std::move(valid->table));
    adapter->deltas.push_back(*std::move(valid));
  }
  SHIRA_RETURN_IF_ERROR(problems.ToStatus(absl::StatusCode::kInvalidArgument, files.tensors_path));
  std::sort(
      adapter->deltas.begin(), adapter->deltas.end(),
      [](const ParameterDelta& a, const ParameterDelta& b) { return a.parameter < b.parameter; });
  adapter->digest = Sha256::Of(files.tensors);
  adapter->scale = raw.scale;
  adapter->rounds_values = raw.rounds_values;
  adapter->format = std::string(format->name);
  adapter->base_model = std::move(raw.base_model);
  return std::shared_ptr<const SparseAdapter>(std::move(adapter));
}

absl::Status AdapterReader::CheckBase(const RawAdapter& raw, const AdapterFiles& files) const {
  const std::string& where = files.config_path.empty() ? files.tensors_path : files.config_path;
  if (raw.base_model.size() > kMaxBaseModelBytes) {
    return absl::InvalidArgumentError(
        absl::StrFormat("%s: base_model_name_or_path: expected at most %d bytes, found %d", where,
                        kMaxBaseModelBytes, raw.base_model.size()));
  }
  if (ContradictsBaseName(raw.base_model, base_.names)) {
    return absl::FailedPreconditionError(absl::StrFormat(
        "%s: base_model_name_or_path: expected this server's model (%s), found %s: if they are the "
        "same model, start the server with --base-model %s",
        where, absl::StrJoin(base_.names, ", "), raw.base_model, raw.base_model));
  }
  if (raw.base_digest.has_value() && base_.digest.has_value() && raw.base_digest != base_.digest) {
    return absl::FailedPreconditionError(absl::StrFormat(
        "%s: base_digest: expected that of the resident weights, %s, found %s: the adapter belongs "
        "to other weights, or to the same in another dtype",
        where, base_.digest->Hex(), raw.base_digest->Hex()));
  }
  return absl::OkStatus();
}

}  // namespace shira
