#include "adapters/format/packed_writer.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <list>
#include <map>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_format.h"
#include "adapters/format/packed_layout.h"
#include "adapters/format/packed_positions.h"
#include "base/float_types.h"
#include "base/safetensors.h"
#include "base/status_macros.h"
#include "base/strings.h"

namespace shira {
namespace {

absl::Span<const std::byte> AsBytes(const void* data, size_t size) {
  return {static_cast<const std::byte*>(data), size};
}

bool HoldsInBFloat16(const std::vector<float>& values) {
  return std::all_of(values.begin(), values.end(),
                     [](float value) { return (std::bit_cast<uint32_t>(value) & 0xFFFFu) == 0; });
}

absl::StatusOr<std::vector<BFloat16>> RoundToBFloat16(const ParameterDelta& delta,
                                                      PackReport& report) {
  std::vector<BFloat16> rounded;
  rounded.reserve(delta.values.size());
  for (const float value : delta.values) {
    rounded.push_back(FromFloat<BFloat16>(value));
    const double error = std::abs(double{ToFloat(rounded.back())} - double{value});
    if (!std::isfinite(error)) {
      return absl::InvalidArgumentError(absl::StrFormat(
          "%s: expected values that bf16 can hold, found %g", delta.parameter, value));
    }
    if (error > report.max_rounding_error) {
      report.max_rounding_error = error;
      report.max_rounding_error_parameter = delta.parameter;
    }
  }
  return rounded;
}

std::map<std::string, std::string> MetadataOf(const SparseAdapter& adapter,
                                              const PackOptions& options) {
  std::map<std::string, std::string> metadata = {
      {kPackedFormatKey, kPackedFormat},
      {kPackedVersionKey, kPackedVersion},
      {kPackedSourceFormatKey, adapter.format},
      {kPackedSourceDigestKey, adapter.digest.Hex()},
  };
  if (adapter.scale != 1.0f) metadata[kPackedScaleKey] = absl::StrFormat("%.9g", adapter.scale);
  if (adapter.rounds_values) metadata[kPackedRoundingKey] = kPackedRoundsValues;
  if (!adapter.base_model.empty()) metadata[kPackedBaseModelKey] = adapter.base_model;
  if (options.base_digest) metadata[kPackedBaseDigestKey] = options.base_digest->Hex();
  if (!options.tool.empty()) metadata[kPackedToolKey] = options.tool;
  if (!options.date.empty()) metadata[kPackedDateKey] = options.date;
  return metadata;
}

// The tensors of the file, and the memory that those lie in which are not the adapter's own.
class Tensors {
 public:
  absl::Status Add(const ParameterDelta& delta, bool round_to_bf16, PackReport& report) {
    SHIRA_ASSIGN_OR_RETURN(const int64_t table, TableNumber(*delta.table, report));
    TensorView view{DType::kF32,
                    {static_cast<int64_t>(delta.values.size())},
                    AsBytes(delta.values.data(), delta.values.size() * sizeof(float))};
    if (round_to_bf16 || HoldsInBFloat16(delta.values)) {
      SHIRA_ASSIGN_OR_RETURN(std::vector<BFloat16> rounded, RoundToBFloat16(delta, report));
      const std::vector<BFloat16>& kept = rounded_.emplace_back(std::move(rounded));
      view.dtype = DType::kBF16;
      view.data = AsBytes(kept.data(), kept.size() * sizeof(BFloat16));
    }
    report.entries += delta.table->entries();
    report.value_bytes += static_cast<int64_t>(view.data.size());
    ++report.parameters;
    views_[PackedValuesName(delta.parameter, delta.kind, table)] = std::move(view);
    return absl::OkStatus();
  }

  const std::map<std::string, TensorView>& views() const { return views_; }

 private:
  absl::StatusOr<int64_t> TableNumber(const IndexTable& table, PackReport& report) {
    const auto [found, added] = numbers_.try_emplace(table.digest(), report.tables);
    if (!added) return found->second;
    SHIRA_ASSIGN_OR_RETURN(std::string packed, PackPositions(table));
    const std::string& kept = packed_.emplace_back(std::move(packed));
    views_[PackedTableName(report.tables)] = {
        DType::kU8, {static_cast<int64_t>(kept.size())}, AsBytes(kept.data(), kept.size())};
    report.table_bytes += static_cast<int64_t>(kept.size());
    return report.tables++;
  }

  std::map<std::string, TensorView> views_;
  absl::flat_hash_map<Sha256Digest, int64_t> numbers_;
  // Lists, whose elements stay where they are.
  std::list<std::string> packed_;
  std::list<std::vector<BFloat16>> rounded_;
};

}  // namespace

absl::StatusOr<PackedFile> PackAdapter(const SparseAdapter& adapter, const PackOptions& options) {
  if (adapter.deltas.empty()) {
    return absl::InvalidArgumentError("expected an adapter with deltas, found none");
  }
  if (!std::isfinite(adapter.scale)) {
    return absl::InvalidArgumentError(
        StrCat("scale: expected a finite number, found ", adapter.scale));
  }
  PackedFile file;
  Tensors tensors;
  for (const ParameterDelta& delta : adapter.deltas) {
    SHIRA_RETURN_IF_ERROR(tensors.Add(delta, options.round_to_bf16, file.report));
  }
  std::map<std::string, std::string> metadata = MetadataOf(adapter, options);
  metadata[kPackedDigestKey] = PackedDigest(tensors.views(), metadata).Hex();
  SHIRA_ASSIGN_OR_RETURN(file.bytes, SerializeSafetensors(tensors.views(), metadata));
  return file;
}

}  // namespace shira
