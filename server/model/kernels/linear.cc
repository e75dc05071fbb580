// Stands in for the register-tiled kernel: right for every number of rows and every patch, and slow.
#include "server/model/kernels/linear.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "server/model/kernels/decode_linear.h"
namespace shira {
int64_t LinearScratchBytes(DType, int64_t, int64_t in) {
  return 4 * DecodeLinearScratch(kMaxDecodeRows, in);
}
void Linear(const LinearWeight& weight, const float* x, absl::Span<const RowGroup> groups, float* y,
            std::byte* scratch, const ParallelFor& parallel_for) {
  for (const RowGroup& group : groups) {
    DecodeWeight w = {weight.data, weight.bias, weight.dtype, weight.out, weight.in};
    const int64_t e = DTypeSize(weight.dtype);
    std::vector<std::byte> copy;
    if (!group.patches.empty()) {
      const auto* from = static_cast<const std::byte*>(weight.data);
      copy.assign(from, from + weight.out * weight.in * e);
      for (const WeightPatch& patch : group.patches) {
        patch.table->ForEach([&](uint32_t i, int64_t at) {
          std::memcpy(copy.data() + (patch.first_row * weight.in + at) * e, patch.values + i * e,
                      e);
        });
      }
      w.data = copy.data();
    }
    for (int64_t r = group.begin; r < group.end; r += kMaxDecodeRows) {
      DecodeLinear(w, x + r * weight.in, std::min(kMaxDecodeRows, group.end - r),
                   y + r * weight.out, reinterpret_cast<float*>(scratch), parallel_for);
    }
  }
}
}  // namespace shira
