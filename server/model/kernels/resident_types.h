// File: server/model/kernels/resident_types.h
//
// From a DType to the C++ type of the resident elements.

#ifndef SHIRA_SERVER_MODEL_KERNELS_RESIDENT_TYPES_H_
#define SHIRA_SERVER_MODEL_KERNELS_RESIDENT_TYPES_H_

#include "base/dtype.h"
#include "base/float_types.h"

namespace shira {

// Calls f(T()) with T the element type of a resident dtype. REQUIRES: kF32, kBF16 or kF16.
template <typename F>
decltype(auto) WithResidentType(DType dtype, F&& f) {
  switch (dtype) {
    case DType::kBF16:
      return f(BFloat16());
    case DType::kF16:
      return f(Float16());
    default:
      return f(float());
  }
}

}  // namespace shira

#endif  // SHIRA_SERVER_MODEL_KERNELS_RESIDENT_TYPES_H_
