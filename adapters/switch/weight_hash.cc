#include "adapters/switch/weight_hash.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "absl/types/span.h"

namespace shira {
namespace {

constexpr int64_t kHashedAtOnceBytes = int64_t{1} << 20;

}  // namespace

Sha256Digest HashByRows(const WeightMemory& memory, int64_t parameter,
                        const ElementOverlay* overlay) {
  const size_t element_bytes = memory.parameters().element_bytes();
  const ParameterShape& shape = memory.parameters().parameters()[parameter];
  const int64_t row_bytes = shape.cols * static_cast<int64_t>(element_bytes);
  const int64_t step = std::clamp<int64_t>(kHashedAtOnceBytes / row_bytes, 1, shape.rows);
  std::vector<std::byte> slice(step * row_bytes);
  Sha256 hash;
  for (int64_t row = 0; row < shape.rows; row += step) {
    const int64_t end = std::min(row + step, shape.rows);
    const auto rows = absl::MakeSpan(slice).first((end - row) * row_bytes);
    memory.Read(parameter, row, end, rows);
    if (overlay != nullptr) {
      overlay->table->ForEachInRows(row, end, [&](uint32_t entry, int64_t element) {
        std::memcpy(rows.data() + element * element_bytes, overlay->values + entry * element_bytes,
                    element_bytes);
      });
    }
    hash.Update(rows);
  }
  return hash.Finish();
}

}  // namespace shira
