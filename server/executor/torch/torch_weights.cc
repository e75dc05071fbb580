#include "server/executor/torch/torch_weights.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/from_blob.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "adapters/switch/host_weight_memory.h"
#include "adapters/switch/weight_hash.h"
#include "base/status_macros.h"
#include "server/model/torch_types.h"

namespace shira {
namespace {

// Elements that are written at a time.
constexpr int64_t kStagedEntries = int64_t{1} << 18;

// Integers of as many bytes as an element has.
at::ScalarType BitsOf(DType dtype) { return DTypeSize(dtype) == 2 ? at::kShort : at::kInt; }

std::byte* BytesOf(const at::Tensor& tensor) {
  return static_cast<std::byte*>(tensor.mutable_data_ptr());
}

}  // namespace

TorchWeights::TorchWeights(std::unique_ptr<ResidentWeights> weights, ParameterMap map,
                           at::Device device)
    : config_(weights->config()), map_(std::move(map)), device_(device) {
  const c10::InferenceMode inference;
  const DType dtype = weights->dtype();
  const auto element_bytes = static_cast<int64_t>(DTypeSize(dtype));
  for (size_t i = 0; i < weights->parameters().size(); ++i) {
    const ResidentParameter& parameter = weights->parameters()[i];
    const TensorPlace& place = weights->places()[i];
    const ResidentWeights::Matrix matrix = weights->At(place);
    at::Tensor& tensor = places_[place];
    if (!tensor.defined()) {
      const bool is_vector = matrix.rows == 1;
      const std::vector<int64_t> shape = is_vector ? std::vector<int64_t>{matrix.cols}
                                                   : std::vector<int64_t>{matrix.rows, matrix.cols};
      tensor = at::from_blob(matrix.data, shape, ScalarTypeOf(dtype)).to(device);
    }
    const int64_t first = (parameter.data - matrix.data) / element_bytes;
    elements_.push_back(tensor.view(-1).view(BitsOf(dtype)).narrow(0, first, parameter.elements()));
  }
  if (device.is_cpu()) host_ = std::move(weights);
  host_positions_ = at::empty({kStagedEntries}, at::kLong);
  host_values_ = at::empty({kStagedEntries}, BitsOf(dtype));
  positions_ = device.is_cpu() ? host_positions_ : at::empty_like(host_positions_, device);
  values_ = device.is_cpu() ? host_values_ : at::empty_like(host_values_, device);
}

absl::StatusOr<std::unique_ptr<TorchWeights>> TorchWeights::Create(
    std::unique_ptr<ResidentWeights> weights, at::Device device) {
  SHIRA_ASSIGN_OR_RETURN(ParameterMap map, MapOf(weights->dtype(), weights->parameters()));
  return std::unique_ptr<TorchWeights>(
      new TorchWeights(std::move(weights), std::move(map), device));
}

at::Tensor TorchWeights::At(const TensorPlace& place) const {
  const auto entry = places_.find(place);
  return entry == places_.end() ? at::Tensor() : entry->second;
}

void TorchWeights::Gather(int64_t parameter, const IndexTable& table, std::byte* out) const {
  const c10::InferenceMode inference;
  at::Tensor positions = at::empty({table.entries()}, at::kLong);
  int64_t* next = positions.mutable_data_ptr<int64_t>();
  table.ForEach([&](uint32_t, int64_t position) { *next++ = position; });
  const at::Tensor values = elements_[parameter].index_select(0, positions.to(device_)).cpu();
  std::memcpy(out, BytesOf(values), values.nbytes());
}

void TorchWeights::Read(int64_t parameter, int64_t first_row, int64_t last_row,
                        absl::Span<std::byte> out) const {
  const c10::InferenceMode inference;
  const int64_t cols = map_.parameters()[parameter].cols;
  const at::Tensor rows =
      elements_[parameter].narrow(0, first_row * cols, (last_row - first_row) * cols).cpu();
  std::memcpy(out.data(), BytesOf(rows), rows.nbytes());
}

Sha256Digest TorchWeights::Hash(int64_t parameter, const ElementOverlay* overlay) const {
  return HashByRows(*this, parameter, overlay);
}

int64_t TorchWeights::Transition(const CompiledState& from, const CompiledState& to) {
  const auto write = [&]() noexcept {
    const c10::InferenceMode inference;
    for (const CompiledParameter& parameter : from.parameters) {
      Scatter(parameter.parameter, *parameter.table, parameter.originals->data());
    }
    for (const CompiledParameter& parameter : to.parameters) {
      Scatter(parameter.parameter, *parameter.table, parameter.fused.data());
    }
  };
  write();
  return from.entries() + to.entries();
}

void TorchWeights::Scatter(int64_t parameter, const IndexTable& table, const std::byte* values) {
  const size_t element_bytes = map_.element_bytes();
  auto* positions = host_positions_.mutable_data_ptr<int64_t>();
  const auto flush = [&](int64_t first, int64_t count) {
    std::memcpy(BytesOf(host_values_), values + first * element_bytes, count * element_bytes);
    const at::Tensor at_positions = positions_.narrow(0, 0, count);
    const at::Tensor at_values = values_.narrow(0, 0, count);
    if (!device_.is_cpu()) {
      at_positions.copy_(host_positions_.narrow(0, 0, count));
      at_values.copy_(host_values_.narrow(0, 0, count));
    }
    elements_[parameter].index_copy_(0, at_positions, at_values);
  };
  int64_t first = 0, count = 0;
  table.ForEach([&](uint32_t entry, int64_t position) {
    if (count == kStagedEntries) {
      flush(first, count);
      first = entry;
      count = 0;
    }
    positions[count++] = position;
  });
  if (count > 0) flush(first, count);
}

}  // namespace shira
