// File: server/model/torch_types.h

#ifndef SHIRA_SERVER_MODEL_TORCH_TYPES_H_
#define SHIRA_SERVER_MODEL_TORCH_TYPES_H_

#include <c10/core/ScalarType.h>

#include "base/dtype.h"

namespace shira {

// REQUIRES: kF32, kBF16 or kF16.
inline at::ScalarType ScalarTypeOf(DType dtype) {
  switch (dtype) {
    case DType::kBF16:
      return at::kBFloat16;
    case DType::kF16:
      return at::kHalf;
    default:
      return at::kFloat;
  }
}

}  // namespace shira

#endif  // SHIRA_SERVER_MODEL_TORCH_TYPES_H_
