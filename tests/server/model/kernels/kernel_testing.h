// What the kernels' tests share: random numbers of a dtype, loops split as a thread pool would, and
// every instruction set that this machine has.

#ifndef SHIRA_TESTS_SERVER_MODEL_KERNELS_KERNEL_TESTING_H_
#define SHIRA_TESTS_SERVER_MODEL_KERNELS_KERNEL_TESTING_H_

#include <gtest/gtest.h>
#include <hwy/aligned_allocator.h>
#include <hwy/targets.h>

#include <cstdint>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "base/dtype.h"
#include "base/parallel.h"
#include "server/model/kernels/resident_types.h"

namespace shira {

inline constexpr DType kResidentDTypes[] = {DType::kF32, DType::kBF16, DType::kF16};

// The value as `dtype` holds it; correct by base/float_types' own tests against LibTorch.
inline float RoundedTo(DType dtype, double value) {
  return WithResidentType(
      dtype, [&]<typename T>(T) { return ToFloat(FromFloat<T>(static_cast<float>(value))); });
}

// Half of the distance between 1 and the next value: the largest relative error of one rounding.
inline double RoundingError(DType dtype) {
  return dtype == DType::kF32 ? 0x1p-24 : dtype == DType::kF16 ? 0x1p-11 : 0x1p-8;
}

// Numbers around zero, each a value of the dtype: as floats, and as the resident memory holds them.
struct Numbers {
  std::vector<float> values;
  std::vector<char> bytes;  // exactly as long as they are: sanitizers see a read behind them
};

inline Numbers RandomNumbers(DType dtype, int64_t count, std::mt19937& random, float size = 1.0f) {
  std::normal_distribution<float> normal(0.0f, size);
  Numbers numbers;
  numbers.bytes.resize(count * DTypeSize(dtype));
  for (int64_t i = 0; i < count; ++i) {
    WithResidentType(dtype, [&]<typename T>(T) {
      const T element = FromFloat<T>(normal(random));
      std::memcpy(numbers.bytes.data() + i * sizeof(T), &element, sizeof(T));
      numbers.values.push_back(ToFloat(element));
    });
  }
  return numbers;
}

// Splits a loop into `parts` ranges, the last one first.
inline ParallelFor SplitFor(int64_t parts) {
  return [parts](int64_t count, absl::FunctionRef<void(int64_t, int64_t)> body) {
    for (int64_t part = parts - 1; part >= 0; --part) {
      const int64_t begin = count * part / parts;
      const int64_t end = count * (part + 1) / parts;
      if (begin < end) body(begin, end);
    }
  };
}

// Runs `check` once for every instruction set that the machine and the build have.
inline void OnEveryTarget(absl::FunctionRef<void()> check) {
  for (const int64_t target : hwy::SupportedAndGeneratedTargets()) {
    SCOPED_TRACE(std::string("target ") + hwy::TargetName(target));
    hwy::SetSupportedTargetsForTest(target);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
    check();
  }
  hwy::SetSupportedTargetsForTest(0);
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
}

}  // namespace shira

#endif  // SHIRA_TESTS_SERVER_MODEL_KERNELS_KERNEL_TESTING_H_
