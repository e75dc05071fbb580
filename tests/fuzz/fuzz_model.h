// File: tests/fuzz/fuzz_model.h

#ifndef SHIRA_TESTS_FUZZ_FUZZ_MODEL_H_
#define SHIRA_TESTS_FUZZ_FUZZ_MODEL_H_

#include <cmath>
#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "adapters/format/adapter_reader.h"
#include "adapters/sparse_adapter.h"
#include "base/dtype.h"
#include "tests/fuzz/fuzz_target.h"

namespace shira::testing {

// The model that the corpora's adapters were made for (make_fuzz_corpus.py).
inline const AdapterReader& FuzzModelReader() {
  static const AdapterReader* const reader = [] {
    BaseModelIdentity base;
    base.parameters = {{"model.layers.0.self_attn.q_proj.weight", {16, 16}},
                       {"model.layers.0.mlp.down_proj.weight", {16, 24}},
                       {"model.norm.weight", {1, 16}}};
    base.names = {"fuzz/tiny"};
    base.dtype = DType::kBF16;
    return new AdapterReader(std::move(base), {.max_file_bytes = 1 << 20, .max_entries = 1 << 16});
  }();
  return *reader;
}

// What a validated adapter promises to the switch.
inline void CheckAdapter(const absl::StatusOr<std::shared_ptr<const SparseAdapter>>& adapter) {
  if (!adapter.ok()) return;
  const auto& parameters = FuzzModelReader().base().parameters;
  for (const ParameterDelta& delta : (*adapter)->deltas) {
    const auto shape = parameters.find(delta.parameter);
    Promise(shape != parameters.end(), "every delta is for a parameter of the model");
    const int64_t elements = shape->second.rows * shape->second.cols;
    int64_t last = -1;
    size_t count = 0;
    delta.table->ForEach([&](uint32_t, int64_t position) {
      Promise(position > last && position < elements, "positions ascend within the parameter");
      last = position;
      ++count;
    });
    Promise(count == delta.values.size(), "every position has its value");
    for (const float value : delta.values) Promise(std::isfinite(value), "values are finite");
  }
}

}  // namespace shira::testing

#endif  // SHIRA_TESTS_FUZZ_FUZZ_MODEL_H_
