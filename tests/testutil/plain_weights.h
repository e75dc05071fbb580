// File: tests/testutil/plain_weights.h
//
// A model without a model: matrices of seeded random weights in plain memory, for tests of the
// switch and of what stands on it.

#ifndef SHIRA_TESTS_TESTUTIL_PLAIN_WEIGHTS_H_
#define SHIRA_TESTS_TESTUTIL_PLAIN_WEIGHTS_H_

#include <cstdint>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "adapters/format/adapter_reader.h"
#include "adapters/switch/host_weight_memory.h"
#include "base/dtype.h"
#include "base/float_types.h"
#include "base/sha256.h"

namespace shira::testing {

// Writes `value`, rounded to `dtype`, at `element`.
inline void StoreElement(DType dtype, float value, int64_t index, std::byte* data) {
  const auto store = [&](auto element) {
    std::memcpy(data + index * sizeof(element), &element, sizeof(element));
  };
  if (dtype == DType::kF32) return store(value);
  if (dtype == DType::kBF16) return store(FromFloat<BFloat16>(value));
  store(FromFloat<Float16>(value));
}

inline float LoadElement(DType dtype, const std::byte* data, int64_t index) {
  const auto load = [&](auto element) {
    std::memcpy(&element, data + index * sizeof(element), sizeof(element));
    return ToFloat(element);
  };
  if (dtype == DType::kF32) return load(float{});
  if (dtype == DType::kBF16) return load(BFloat16{});
  return load(Float16{});
}

class PlainWeights {
 public:
  struct Shape {
    std::string name;
    int64_t rows;
    int64_t cols;
  };

  PlainWeights(DType dtype, std::vector<Shape> shapes, uint32_t seed)
      : dtype_(dtype), shapes_(std::move(shapes)) {
    std::mt19937 random(seed);
    std::normal_distribution<float> normal;
    for (const Shape& shape : shapes_) {
      const int64_t elements = shape.rows * shape.cols;
      std::vector<std::byte>& data = data_.emplace_back(elements * DTypeSize(dtype));
      for (int64_t i = 0; i < elements; ++i) StoreElement(dtype, normal(random), i, data.data());
    }
  }

  // Another copy, with memory of its own.
  PlainWeights(const PlainWeights& other)
      : dtype_(other.dtype_), shapes_(other.shapes_), data_(other.data_) {}

  // Points into this object, and is made when it is first asked for: `parallel_for` counts then.
  HostWeightMemory& memory(const ParallelFor& parallel_for = SerialFor) {
    if (memory_ == nullptr) {
      std::vector<ResidentParameter> parameters;
      for (size_t i = 0; i < shapes_.size(); ++i) {
        parameters.push_back({shapes_[i].name, shapes_[i].rows, shapes_[i].cols, data_[i].data()});
      }
      memory_ = *HostWeightMemory::Create(dtype_, parameters, parallel_for);
    }
    return *memory_;
  }

  BaseModelIdentity identity(std::vector<std::string> names = {}) const {
    BaseModelIdentity identity;
    for (const Shape& shape : shapes_) identity.parameters[shape.name] = {shape.rows, shape.cols};
    identity.names = std::move(names);
    return identity;
  }

  DType dtype() const { return dtype_; }
  const std::vector<Shape>& shapes() const { return shapes_; }
  std::vector<std::vector<std::byte>>& data() { return data_; }
  const std::vector<std::vector<std::byte>>& data() const { return data_; }

  Sha256Digest Hash() const {
    Sha256 hash;
    for (const auto& data : data_) hash.Update(data);
    return hash.Finish();
  }

 private:
  DType dtype_;
  std::vector<Shape> shapes_;
  std::vector<std::vector<std::byte>> data_;
  std::unique_ptr<HostWeightMemory> memory_;
};

}  // namespace shira::testing

#endif  // SHIRA_TESTS_TESTUTIL_PLAIN_WEIGHTS_H_
