#include "adapters/format/packed_shira.h"

#include <cmath>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/numbers.h"
#include "adapters/format/packed_layout.h"
#include "adapters/format/packed_positions.h"
#include "adapters/format/tensor_numbers.h"
#include "base/problem_list.h"
#include "base/status_macros.h"
#include "base/strings.h"

namespace shira {
namespace {

using Metadata = std::map<std::string, std::string>;

// nullptr when absent.
const std::string* FindText(const Metadata& metadata, const char* key) {
  const auto found = metadata.find(key);
  return found == metadata.end() ? nullptr : &found->second;
}

absl::Status CheckDigest(const Safetensors& tensors) {
  const std::string* claimed = FindText(tensors.metadata(), kPackedDigestKey);
  if (claimed == nullptr) {
    return absl::InvalidArgumentError(StrCat(tensors.source(), ": digest: missing"));
  }
  const std::string actual = PackedDigest(tensors.tensors(), tensors.metadata()).Hex();
  if (actual == *claimed) return absl::OkStatus();
  return absl::DataLossError(StrCat(tensors.source(), ": digest: expected ", *claimed,
                                    " as the file says, found ", actual, ": it was damaged"));
}

absl::Status CheckVersion(const Safetensors& tensors) {
  const std::string* version = FindText(tensors.metadata(), kPackedVersionKey);
  if (version == nullptr) {
    return absl::InvalidArgumentError(StrCat(tensors.source(), ": version: missing"));
  }
  if (*version == kPackedVersion) return absl::OkStatus();
  return absl::UnimplementedError(
      StrCat(tensors.source(), ": version: expected ", kPackedVersion, ", found ", *version));
}

// What the metadata says beside format, version and digest.
void ReadMetadata(const Metadata& metadata, RawAdapter& adapter, ProblemList& problems) {
  if (const std::string* scale = FindText(metadata, kPackedScaleKey)) {
    if (!absl::SimpleAtof(*scale, &adapter.scale) || !std::isfinite(adapter.scale)) {
      problems.Add(kPackedScaleKey, ": expected a finite number, found '", *scale, "'");
    }
  }
  if (const std::string* rounding = FindText(metadata, kPackedRoundingKey)) {
    adapter.rounds_values = *rounding == kPackedRoundsValues;
    if (!adapter.rounds_values) {
      problems.Add(kPackedRoundingKey, ": expected ", kPackedRoundsValues, ", found '", *rounding,
                   "'");
    }
  }
  if (const std::string* base = FindText(metadata, kPackedBaseModelKey)) adapter.base_model = *base;
  if (const std::string* digest = FindText(metadata, kPackedBaseDigestKey)) {
    adapter.base_digest = ParseSha256(*digest);
    if (!adapter.base_digest.has_value()) {
      problems.Add(kPackedBaseDigestKey, ": expected 64 lower-case hexadecimal digits, found '",
                   *digest, "'");
    }
  }
}

// The tables by number, and which of them a parameter uses.
class Tables {
 public:
  explicit Tables(const Safetensors& tensors) : tensors_(tensors) {}

  // The table for `count` values; nullptr after adding to `problems`.
  std::shared_ptr<PackedTable> Get(int64_t number, const std::string& values_name, int64_t count,
                                   ProblemList& problems) {
    const auto [found, added] = tables_.try_emplace(number);
    if (added) found->second = Find(number, values_name, problems);
    if (found->second == nullptr) return nullptr;
    const int64_t entries = found->second->shape().entries;
    if (entries == count) return found->second;
    problems.Add(values_name, ": expected ", entries, " values, as ", PackedTableName(number),
                 " has positions, found ", count);
    return nullptr;
  }

  bool IsUsed(int64_t number) const { return tables_.count(number) != 0; }

 private:
  std::shared_ptr<PackedTable> Find(int64_t number, const std::string& values_name,
                                    ProblemList& problems) const {
    const std::string name = PackedTableName(number);
    const TensorView* packed = tensors_.Find(name);
    if (packed == nullptr) {
      problems.Add(values_name, ": expected the tensor ", name, ", found nothing");
      return nullptr;
    }
    if (packed->dtype != DType::kU8 || packed->shape.size() != 1) {
      problems.Add(name, ": expected U8 [n], found ", DescribeTensor(*packed));
      return nullptr;
    }
    absl::StatusOr<PackedTable> table = PackedTable::Create(packed->data);
    if (table.ok()) return std::make_shared<PackedTable>(*std::move(table));
    problems.Add(name, ": ", table.status().message());
    return nullptr;
  }

  const Safetensors& tensors_;
  std::map<int64_t, std::shared_ptr<PackedTable>> tables_;  // nullptr: reported
};

}  // namespace

bool IsPackedShira(const Safetensors& tensors) {
  const std::string* format = FindText(tensors.metadata(), kPackedFormatKey);
  return format != nullptr && *format == kPackedFormat;
}

absl::StatusOr<RawAdapter> ReadPackedShira(const AdapterFiles& files, const Safetensors& tensors) {
  SHIRA_RETURN_IF_ERROR(CheckVersion(tensors));
  SHIRA_RETURN_IF_ERROR(CheckDigest(tensors));
  ProblemList problems;
  RawAdapter adapter;
  ReadMetadata(tensors.metadata(), adapter, problems);
  Tables tables(tensors);
  for (const auto& [name, tensor] : tensors.tensors()) {
    const std::optional<PackedName> parsed = ParsePackedName(name);
    if (!parsed.has_value()) {
      problems.Add(name, ": left over: no part of a packed adapter");
      continue;
    }
    if (parsed->parameter.empty()) continue;
    if (tensor.shape.size() != 1 || !IsValueDType(tensor.dtype)) {
      problems.Add(name, ": expected F32, BF16 or F16 [n], found ", DescribeTensor(tensor));
      continue;
    }
    auto table = tables.Get(parsed->table, name, tensor.elements(), problems);
    if (table == nullptr) continue;
    adapter.deltas.push_back({parsed->parameter, parsed->kind, std::move(table), tensor});
  }
  for (const auto& [name, tensor] : tensors.tensors()) {
    const std::optional<PackedName> parsed = ParsePackedName(name);
    if (parsed.has_value() && parsed->parameter.empty() && !tables.IsUsed(parsed->table)) {
      problems.Add(name, ": left over: no parameter uses it");
    }
  }
  SHIRA_RETURN_IF_ERROR(problems.ToStatus(absl::StatusCode::kInvalidArgument, files.tensors_path));
  return adapter;
}

}  // namespace shira
