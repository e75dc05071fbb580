#include "server/model/rotary_table.h"

#include <algorithm>

namespace shira {
namespace {

at::ScalarType ScalarTypeOf(DType dtype) {
  switch (dtype) {
    case DType::kBF16:
      return at::kBFloat16;
    case DType::kF16:
      return at::kHalf;
    default:
      return at::kFloat;
  }
}

}  // namespace

void RotaryTable::Reserve(int64_t positions) {
  constexpr int64_t kFirst = 1024;
  if (positions <= positions_) return;
  const int64_t size = std::max({positions, 2 * positions_, kFirst});
  const RotaryEmbedding::Angles angles =
      rotary_.At(at::arange(size, at::kLong), ScalarTypeOf(dtype_));
  cos_ = angles.cos.squeeze(1).to(at::kFloat).contiguous();
  sin_ = angles.sin.squeeze(1).to(at::kFloat).contiguous();
  positions_ = size;
}

}  // namespace shira
