#include "adapters/format/adapter_reader.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "adapters/format/adapter_files.h"
#include "adapters/format/adapter_format.h"
#include "adapters/format/base_name.h"
#include "adapters/format/delta_validator.h"
#include "base/problem_list.h"
#include "base/safetensors.h"
#include "base/sha256.h"
#include "base/status_macros.h"
#include "base/strings.h"

namespace shira {

AdapterReader::AdapterReader(BaseModelIdentity base, AdapterLimits limits)
    : base_(std::move(base)), limits_(limits) {}

absl::StatusOr<std::shared_ptr<const SparseAdapter>> AdapterReader::Read(
    const std::string& path) const {
  SHIRA_ASSIGN_OR_RETURN(const AdapterFiles files, ReadAdapterFiles(path, limits_.max_file_bytes));
  SHIRA_ASSIGN_OR_RETURN(const AdapterFormat* format, FindAdapterFormat(files));
  const absl::Span<const std::byte> bytes(reinterpret_cast<const std::byte*>(files.tensors.data()),
                                          files.tensors.size());
  SHIRA_ASSIGN_OR_RETURN(const Safetensors tensors,
                         Safetensors::Parse(bytes, files.tensors_path()));
  SHIRA_ASSIGN_OR_RETURN(RawAdapter raw, format->read(files, tensors));

  if (ContradictsBaseName(raw.base_model, base_.names)) {
    return absl::FailedPreconditionError(absl::StrFormat(
        "%s: base_model_name_or_path: expected this server's model (%s), found %s: if they are the "
        "same model, start the server with --base-model %s",
        files.config_path(), absl::StrJoin(base_.names, ", "), raw.base_model, raw.base_model));
  }
  int64_t entries = 0;
  for (const RawDelta& delta : raw.deltas) entries += delta.values.elements();
  if (entries > limits_.max_entries) {
    return absl::ResourceExhaustedError(absl::StrFormat("%s: expected at most %d entries, found %d",
                                                        files.tensors_path(), limits_.max_entries,
                                                        entries));
  }

  auto adapter = std::make_shared<SparseAdapter>();
  ProblemList problems;
  if (raw.deltas.empty()) problems.Add("no parameter of the model is touched");
  for (const RawDelta& delta : raw.deltas) {
    std::optional<ParameterDelta> valid = ValidateDelta(delta, base_, problems);
    if (!valid.has_value()) continue;
    valid->table = tables_.Intern(std::move(valid->table));
    adapter->deltas.push_back(*std::move(valid));
  }
  SHIRA_RETURN_IF_ERROR(
      problems.ToStatus(absl::StatusCode::kInvalidArgument, files.tensors_path()));
  std::sort(
      adapter->deltas.begin(), adapter->deltas.end(),
      [](const ParameterDelta& a, const ParameterDelta& b) { return a.parameter < b.parameter; });
  adapter->digest = Sha256::Of(bytes);
  adapter->format = std::string(format->name);
  adapter->base_model = std::move(raw.base_model);
  return std::shared_ptr<const SparseAdapter>(std::move(adapter));
}

}  // namespace shira
