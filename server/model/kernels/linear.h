#ifndef SHIRA_SERVER_MODEL_KERNELS_LINEAR_H_
#define SHIRA_SERVER_MODEL_KERNELS_LINEAR_H_
#include <cstdint>

#include "absl/types/span.h"
#include "adapters/index_table.h"
#include "base/dtype.h"
#include "base/parallel.h"
namespace shira {
struct LinearWeight {
  const void* data = nullptr;
  const void* bias = nullptr;
  DType dtype = DType::kF32;
  int64_t out = 0;
  int64_t in = 0;
};
struct WeightPatch {
  int64_t first_row = 0;
  const IndexTable* table = nullptr;
  const std::byte* values = nullptr;
};
struct RowGroup {
  int64_t begin = 0, end = 0;
  absl::Span<const WeightPatch> patches;
};
int64_t LinearScratchBytes(DType dtype, int64_t rows, int64_t in);
void Linear(const LinearWeight& weight, const float* x, absl::Span<const RowGroup> groups, float* y,
            std::byte* scratch, const ParallelFor& parallel_for);
}  // namespace shira
#endif
