#include "adapters/format/whole_tensors.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "adapters/format/tensor_numbers.h"
#include "base/float_types.h"
#include "base/sha256.h"

namespace shira {
namespace {

using Role = EveryPosition::Role;

const EveryPosition* WholeOf(const RawDelta& delta) {
  return std::get_if<EveryPosition>(&delta.positions);
}

template <typename T>
void UpdateWith(const std::vector<float>& values, Sha256& hash) {
  std::vector<T> rounded(values.size());
  std::transform(values.begin(), values.end(), rounded.begin(), &FromFloat<T>);
  hash.Update({reinterpret_cast<const std::byte*>(rounded.data()), rounded.size() * sizeof(T)});
}

// SHA-256 of the tensor's numbers in `dtype`, as they would lie in memory.
Sha256Digest HashIn(DType dtype, const TensorView& tensor) {
  if (tensor.dtype == dtype) return Sha256::Of(tensor.data);
  constexpr int64_t kChunk = 1 << 14;
  const int64_t element_bytes = static_cast<int64_t>(DTypeSize(tensor.dtype));
  Sha256 hash;
  for (int64_t first = 0, elements = tensor.elements(); first < elements; first += kChunk) {
    const int64_t count = std::min(kChunk, elements - first);
    const std::vector<float> values = ReadValues(
        {tensor.dtype, {count}, tensor.data.subspan(first * element_bytes, count * element_bytes)});
    if (dtype == DType::kBF16) {
      UpdateWith<BFloat16>(values, hash);
    } else if (dtype == DType::kF16) {
      UpdateWith<Float16>(values, hash);
    } else {
      UpdateWith<float>(values, hash);
    }
  }
  return hash.Finish();
}

// nullopt where it is not known.
std::optional<bool> EqualsBase(const RawDelta& delta, const BaseModelIdentity& base) {
  const auto hash = base.hashes.find(delta.parameter);
  if (hash == base.hashes.end() || !base.dtype.has_value()) return std::nullopt;
  const auto parameter = base.parameters.find(delta.parameter);
  if (parameter == base.parameters.end() || !parameter->second.Fits(delta.values.shape)) {
    return false;
  }
  return HashIn(*base.dtype, delta.values) == hash->second;
}

bool HoldEqualBytes(const TensorView& a, const TensorView& b) {
  return a.dtype == b.dtype && a.shape == b.shape && a.data == b.data;
}

class Settler {
 public:
  Settler(const BaseModelIdentity& base, const RawAdapter& raw, ProblemList& problems)
      : base_(base), problems_(problems) {
    for (const auto& [other, parameter] : base.tied) shared_.insert(parameter);
    for (const RawDelta& delta : raw.deltas) {
      if (WholeOf(delta) == nullptr) sparse_.insert(delta.parameter);
    }
  }

  // What stays of `delta`, under the parameter's own name; nullopt for nothing.
  std::optional<RawDelta> Settle(RawDelta delta) {
    const std::string name = delta.parameter;
    const EveryPosition* whole = WholeOf(delta);
    if (const auto tied = base_.tied.find(name); tied != base_.tied.end()) {
      if (whole == nullptr) {
        return Refuse(name, ": it cannot be changed alone, because the model uses ", tied->second,
                      " there too (tied embeddings)");
      }
      delta.parameter = tied->second;
    }
    if (whole == nullptr) return delta;
    const bool is_shared = shared_.count(delta.parameter) != 0;
    if (is_shared && whole->role != Role::kCopy) {
      const auto [before, is_first] = loaded_.emplace(delta.parameter, delta.values);
      if (!is_first && HoldEqualBytes(before->second, delta.values)) return std::nullopt;
      if (!is_first) {
        return Refuse(name, ": expected the values of ", delta.parameter,
                      ", because the model uses one matrix for both, found others");
      }
    }
    if (EqualsBase(delta, base_).value_or(whole->role == Role::kFrozen)) return std::nullopt;
    if (whole->role == Role::kFrozen && sparse_.count(name) == 0) {
      return Refuse(name,
                    ": expected the base model's own values, as the file says that they are, "
                    "found others");
    }
    if (whole->role == Role::kCopy && is_shared) {
      return Refuse(name,
                    ": expected no module of its own, because the model uses this parameter in two "
                    "places, and what was trained uses the file's in one of them");
    }
    return delta;
  }

 private:
  template <typename... Parts>
  std::nullopt_t Refuse(const Parts&... parts) {
    problems_.Add(parts...);
    return std::nullopt;
  }

  const BaseModelIdentity& base_;
  ProblemList& problems_;
  std::set<std::string> shared_;              // parameters that the model uses in two places
  std::set<std::string> sparse_;              // parameters with sparse values, by the file's names
  std::map<std::string, TensorView> loaded_;  // what PEFT loads into shared ones
};

}  // namespace

void SettleWholeTensors(const BaseModelIdentity& base, RawAdapter& raw, ProblemList& problems) {
  Settler settler(base, raw, problems);
  std::vector<RawDelta> kept;
  for (RawDelta& delta : raw.deltas) {
    if (auto settled = settler.Settle(std::move(delta))) kept.push_back(*std::move(settled));
  }
  raw.deltas = std::move(kept);
}

ParameterDelta AddToWhole(ParameterDelta whole, const ParameterDelta& delta) {
  delta.table->ForEach(
      [&](uint32_t entry, int64_t position) { whole.values[position] += delta.values[entry]; });
  return whole;
}

}  // namespace shira
