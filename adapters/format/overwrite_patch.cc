#include "adapters/format/overwrite_patch.h"

#include <map>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/strip.h"
#include "adapters/format/tensor_numbers.h"
#include "base/problem_list.h"
#include "base/status_macros.h"
#include "base/strings.h"

namespace shira {
namespace {

struct PairNames {
  absl::string_view positions;
  absl::string_view values;
};
constexpr PairNames kPairs[] = {{".indices", ".values"}, {".idx", ".val"}};

enum class Encoding { kRaw, kGaps };

absl::StatusOr<Encoding> EncodingOf(const Safetensors& tensors) {
  const auto found = tensors.metadata().find("encoding");
  if (found == tensors.metadata().end() || found->second == "raw") return Encoding::kRaw;
  if (found->second == "gap_delta") return Encoding::kGaps;
  return absl::UnimplementedError(
      StrCat(tensors.source(), ": encoding: expected raw or gap_delta, found ", found->second));
}

// One parameter's pair, as far as it was found.
struct Pair {
  const PairNames* names = nullptr;
  const TensorView* positions = nullptr;
  const TensorView* values = nullptr;
};

std::map<std::string, Pair> CollectPairs(const Safetensors& tensors, ProblemList& problems) {
  std::map<std::string, Pair> pairs;
  for (const auto& [name, tensor] : tensors.tensors()) {
    bool placed = false;
    for (const PairNames& names : kPairs) {
      absl::string_view parameter = name;
      const bool positions = absl::ConsumeSuffix(&parameter, names.positions);
      if (!positions && !absl::ConsumeSuffix(&parameter, names.values)) continue;
      Pair& pair = pairs[std::string(parameter)];
      if (pair.names != nullptr && pair.names != &names) break;  // two pairs for one parameter
      pair.names = &names;
      (positions ? pair.positions : pair.values) = &tensor;
      placed = true;
      break;
    }
    if (!placed) problems.Add(name, ": left over: no part of an overwrite patch");
  }
  return pairs;
}

std::optional<RawDelta> ReadPair(const std::string& parameter, const Pair& pair, Encoding encoding,
                                 ProblemList& problems) {
  if (pair.positions == nullptr || pair.values == nullptr) {
    problems.Add(parameter, pair.positions == nullptr ? pair.names->positions : pair.names->values,
                 ": missing");
    return std::nullopt;
  }
  const TensorView& positions = *pair.positions;
  const TensorView& values = *pair.values;
  const size_t problems_before = problems.count();
  const bool gaps = encoding == Encoding::kGaps;
  const DType narrow = gaps ? DType::kU16 : DType::kI32;
  const DType wide = gaps ? DType::kU32 : DType::kI64;
  if (positions.shape.size() != 1 || (positions.dtype != narrow && positions.dtype != wide)) {
    problems.Add(parameter, pair.names->positions, ": expected ", DTypeName(narrow), " or ",
                 DTypeName(wide), " [n], found ", DescribeTensor(positions));
  }
  if (values.shape.size() != 1 || !IsValueDType(values.dtype)) {
    problems.Add(parameter, pair.names->values, ": expected BF16, F16 or F32 [n], found ",
                 DescribeTensor(values));
  }
  if (problems.count() != problems_before) return std::nullopt;
  if (positions.shape != values.shape) {
    problems.Add(parameter, pair.names->positions, ": expected [", values.shape[0],
                 "] like its values, found ", DescribeTensor(positions));
    return std::nullopt;
  }
  return RawDelta{parameter, ValueKind::kReplacement,
                  gaps ? ReadGaps(positions) : ReadIndices(positions), values};
}

}  // namespace

bool IsOverwritePatch(const Safetensors& tensors) {
  for (const auto& [name, tensor] : tensors.tensors()) {
    for (const PairNames& names : kPairs) {
      absl::string_view parameter = name;
      if (absl::ConsumeSuffix(&parameter, names.positions) &&
          tensors.Find(StrCat(parameter, names.values)) != nullptr) {
        return true;
      }
    }
  }
  return false;
}

absl::StatusOr<RawAdapter> ReadOverwritePatch(const AdapterFiles& files,
                                              const Safetensors& tensors) {
  SHIRA_ASSIGN_OR_RETURN(const Encoding encoding, EncodingOf(tensors));
  ProblemList problems;
  RawAdapter adapter;
  for (const auto& [parameter, pair] : CollectPairs(tensors, problems)) {
    if (pair.names == nullptr) continue;
    if (auto delta = ReadPair(parameter, pair, encoding, problems)) {
      adapter.deltas.push_back(*std::move(delta));
    }
  }
  SHIRA_RETURN_IF_ERROR(problems.ToStatus(absl::StatusCode::kInvalidArgument, files.tensors_path));
  return adapter;
}

}  // namespace shira
