// File: tests/testutil/adapter_builder.h
//
// Makes SHiRA adapters for tests: in memory, or as a folder in PEFT's layout with any fault that a
// test wants.

#ifndef SHIRA_TESTS_TESTUTIL_ADAPTER_BUILDER_H_
#define SHIRA_TESTS_TESTUTIL_ADAPTER_BUILDER_H_

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "adapters/index_table.h"
#include "adapters/sparse_adapter.h"
#include "base/dtype.h"
#include "base/safetensors.h"
#include "base/sha256.h"

namespace shira::testing {

// `count` different random positions below rows * cols, ascending.
inline std::vector<int64_t> RandomPositions(int64_t rows, int64_t cols, int64_t count,
                                            std::mt19937& random) {
  std::uniform_int_distribution<int64_t> any(0, rows * cols - 1);
  std::set<int64_t> positions;
  while (static_cast<int64_t>(positions.size()) < count) positions.insert(any(random));
  return {positions.begin(), positions.end()};
}

// The positions of a table, ascending.
inline std::vector<int64_t> FlatPositionsOf(const IndexTable& table) {
  std::vector<int64_t> positions;
  table.ForEach([&](uint32_t, int64_t position) { positions.push_back(position); });
  return positions;
}

inline ParameterDelta MakeDelta(std::string parameter, int64_t rows, int64_t cols,
                                const std::vector<int64_t>& positions, std::vector<float> values) {
  ParameterDelta delta;
  delta.parameter = std::move(parameter);
  delta.table = *IndexTable::Create(rows, cols, positions);
  delta.values = std::move(values);
  return delta;
}

// With normal values.
inline ParameterDelta MakeDelta(std::string parameter, int64_t rows, int64_t cols,
                                const std::vector<int64_t>& positions, std::mt19937& random) {
  std::normal_distribution<float> normal;
  std::vector<float> values;
  for (size_t i = 0; i < positions.size(); ++i) values.push_back(normal(random));
  return MakeDelta(std::move(parameter), rows, cols, positions, std::move(values));
}

// An adapter whose digest follows from `identity`.
inline std::shared_ptr<const SparseAdapter> MakeAdapter(std::string_view identity,
                                                        std::vector<ParameterDelta> deltas) {
  auto adapter = std::make_shared<SparseAdapter>();
  adapter->deltas = std::move(deltas);
  adapter->digest = Sha256::Of(identity);
  adapter->format = "peft_shira";
  return adapter;
}

// A folder in PEFT's layout. Set members to break it, then Write().
class AdapterFolder {
 public:
  std::string config =
      R"({"peft_type": "SHIRA", "r": 2, "base_model_name_or_path": "./somewhere"})";

  template <typename T>
  void AddTensor(const std::string& name, DType dtype, std::vector<int64_t> shape,
                 const std::vector<T>& values) {
    const auto* bytes = reinterpret_cast<const std::byte*>(values.data());
    storage_[name].assign(bytes, bytes + values.size() * sizeof(T));
    views_[name] = {dtype, std::move(shape), {}};
  }

  // A layer of nn.Linear `path`, entries as [row, col].
  void AddLayer(const std::string& path, const std::vector<std::pair<int32_t, int32_t>>& entries,
                const std::vector<float>& values) {
    std::vector<int32_t> indices;
    for (const auto& [row, col] : entries) indices.push_back(row);
    for (const auto& [row, col] : entries) indices.push_back(col);
    const auto n = static_cast<int64_t>(entries.size());
    AddTensor("base_model.model." + path + ".shira_indices", DType::kI32, {2, n}, indices);
    AddTensor("base_model.model." + path + ".shira_weight", DType::kF32,
              {static_cast<int64_t>(values.size())}, values);
  }

  void RemoveTensor(const std::string& name) {
    storage_.erase(name);
    views_.erase(name);
  }

  // The file's __metadata__.
  std::map<std::string, std::string> metadata;

  std::string tensors() const {
    std::map<std::string, TensorView> views = views_;
    for (auto& [name, view] : views) view.data = storage_.at(name);
    return *SerializeSafetensors(views, metadata);
  }

  void Write(const std::filesystem::path& folder) const {
    std::filesystem::create_directories(folder);
    std::ofstream(folder / "adapter_config.json") << config;
    std::ofstream(folder / "adapter_model.safetensors", std::ios::binary) << tensors();
  }

 private:
  std::map<std::string, std::vector<std::byte>> storage_;
  std::map<std::string, TensorView> views_;
};

}  // namespace shira::testing

#endif  // SHIRA_TESTS_TESTUTIL_ADAPTER_BUILDER_H_
