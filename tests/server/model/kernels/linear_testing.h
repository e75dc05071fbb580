// What the tests of linear layers share.

#ifndef SHIRA_TESTS_SERVER_MODEL_KERNELS_LINEAR_TESTING_H_
#define SHIRA_TESTS_SERVER_MODEL_KERNELS_LINEAR_TESTING_H_

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "absl/types/span.h"
#include "server/model/kernels/bf16_products.h"
#include "server/model/kernels/linear.h"
#include "tests/server/model/kernels/kernel_testing.h"

namespace shira {

// A projection with activations for some rows.
struct LinearProblem {
  LinearProblem(DType dtype, int64_t out, int64_t in, int64_t rows, bool has_bias)
      : weights(RandomNumbers(dtype, out * in, random)),
        biases(RandomNumbers(dtype, out, random)),
        x(RandomNumbers(dtype, rows * in, random).values),
        rows(rows),
        weight{.data = weights.bytes.data(),
               .bias = has_bias ? biases.bytes.data() : nullptr,
               .dtype = dtype,
               .out = out,
               .in = in} {}

  std::mt19937 random{7};
  Numbers weights;
  Numbers biases;
  std::vector<float> x;  // [rows, in]
  int64_t rows;
  LinearWeight weight;
};

inline std::vector<float> Multiply(const LinearWeight& weight, const float* x,
                                   absl::Span<const RowGroup> groups,
                                   const ParallelFor& parallel_for = SerialFor) {
  const int64_t rows = groups.back().end;
  const int64_t scratch_bytes = LinearScratchBytes(rows, weight.in);
  const auto scratch = hwy::AllocateAligned<std::byte>(scratch_bytes);
  std::fill_n(scratch.get(), scratch_bytes, std::byte{0xFF});  // NaN
  std::vector<float> y(rows * weight.out, std::numeric_limits<float>::quiet_NaN());
  Linear(weight, x, groups, y.data(), scratch.get(), parallel_for);
  return y;
}

inline std::vector<float> Multiply(const LinearWeight& weight, const float* x, int64_t rows,
                                   const ParallelFor& parallel_for = SerialFor) {
  return Multiply(weight, x, {RowGroup{.begin = 0, .end = rows, .patches = {}}}, parallel_for);
}

// Bits, so that equal means equal: -0 and NaN too.
inline std::vector<uint32_t> Bits(absl::Span<const float> values) {
  std::vector<uint32_t> bits;
  for (const float value : values) bits.push_back(std::bit_cast<uint32_t>(value));
  return bits;
}

// Runs `check` once for every instruction set that the machine and the build have, and with every
// kind of bfloat16 products. The emulation of tiles, which is slow, has one turn.
inline void OnEveryArithmetic(absl::FunctionRef<void()> check) {
  const auto with = [&](Bf16Products products) {
    SCOPED_TRACE(std::string("bfloat16 with ") + std::string(Bf16ProductsName(products)));
    SetBf16ProductsForTest(products);
    check();
  };
  bool emulated = false;
  OnEveryTarget([&] {
    with(Bf16Products::kWidened);
    if (CanUse(Bf16Products::kDot) && (hwy::SupportedTargets() & HWY_AVX3) != 0) {
      with(Bf16Products::kDot);
    }
    if (CanUse(Bf16Products::kTiles)) with(Bf16Products::kTiles);
    if (!std::exchange(emulated, true)) with(Bf16Products::kEmulatedTiles);
  });
  SetBf16ProductsForTest(std::nullopt);
}

using OutAndIn = std::pair<int64_t, int64_t>;

inline std::string LinearTestName(
    const ::testing::TestParamInfo<std::tuple<DType, OutAndIn>>& info) {
  const auto [out, in] = std::get<1>(info.param);
  return std::string(DTypeName(std::get<0>(info.param))) + "_" + std::to_string(out) + "x" +
         std::to_string(in);
}

}  // namespace shira

#endif  // SHIRA_TESTS_SERVER_MODEL_KERNELS_LINEAR_TESTING_H_
