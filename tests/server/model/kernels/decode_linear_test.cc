#include "server/model/kernels/decode_linear.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <tuple>

#include "absl/types/span.h"
#include "tests/server/model/kernels/kernel_testing.h"

namespace shira {
namespace {

using ::testing::Combine;
using ::testing::ValuesIn;

// A projection with activations for kMaxDecodeRows rows.
struct Problem {
  Problem(DType dtype, int64_t out, int64_t in, bool has_bias)
      : weights(RandomNumbers(dtype, out * in, random)),
        biases(RandomNumbers(dtype, out, random)),
        x(RandomNumbers(dtype, kMaxDecodeRows * in, random).values),
        weight{.data = weights.bytes.data(),
               .bias = has_bias ? biases.bytes.data() : nullptr,
               .dtype = dtype,
               .out = out,
               .in = in} {}

  std::mt19937 random{7};
  Numbers weights;
  Numbers biases;
  std::vector<float> x;  // [kMaxDecodeRows, in]
  DecodeWeight weight;
};

std::vector<float> Multiply(const Problem& problem, const float* x, int64_t rows,
                            const ParallelFor& parallel_for = SerialFor) {
  const auto scratch = hwy::AllocateAligned<float>(DecodeLinearScratch(rows, problem.weight.in));
  std::fill_n(scratch.get(), DecodeLinearScratch(rows, problem.weight.in), NAN);
  std::vector<float> y(rows * problem.weight.out, NAN);
  DecodeLinear(problem.weight, x, rows, y.data(), scratch.get(), parallel_for);
  return y;
}

// Bits, so that equal means equal: -0 and NaN too.
std::vector<uint32_t> Bits(absl::Span<const float> values) {
  std::vector<uint32_t> bits;
  for (const float value : values) bits.push_back(std::bit_cast<uint32_t>(value));
  return bits;
}

class DecodeLinearTest
    : public ::testing::TestWithParam<std::tuple<DType, std::pair<int64_t, int64_t>>> {
 protected:
  DType dtype() const { return std::get<0>(GetParam()); }
  Problem MakeProblem(bool has_bias) const {
    const auto [out, in] = std::get<1>(GetParam());
    return Problem(dtype(), out, in, has_bias);
  }
};

TEST_P(DecodeLinearTest, EqualsSumsInDouble) {
  for (const bool has_bias : {false, true}) {
    const Problem problem = MakeProblem(has_bias);
    const auto [out, in] = std::get<1>(GetParam());
    OnEveryTarget([&, out = out, in = in] {
      const std::vector<float> y = Multiply(problem, problem.x.data(), kMaxDecodeRows);
      for (int64_t row = 0; row < kMaxDecodeRows; ++row) {
        for (int64_t o = 0; o < out; ++o) {
          double sum = has_bias ? problem.biases.values[o] : 0.0;
          double magnitude = std::abs(sum);
          for (int64_t i = 0; i < in; ++i) {
            const double product = static_cast<double>(problem.weights.values[o * in + i]) *
                                   static_cast<double>(problem.x[row * in + i]);
            sum += product;
            magnitude += std::abs(product);
          }
          // The order of fp32 sums, and one rounding to the dtype.
          const double tolerance = magnitude * std::sqrt(in + 1.0) * 0x1p-24 +
                                   std::abs(sum) * RoundingError(dtype()) * 1.01;
          const float found = y[row * out + o];
          ASSERT_NEAR(found, sum, tolerance) << "row " << row << ", output " << o;
          ASSERT_EQ(found, RoundedTo(dtype(), found)) << "is no value of the dtype";
        }
      }
    });
  }
}

TEST_P(DecodeLinearTest, ARowsBitsDoNotDependOnItsCompanions) {
  const Problem problem = MakeProblem(/*has_bias=*/true);
  const auto [out, in] = std::get<1>(GetParam());
  OnEveryTarget([&, out = out, in = in] {
    std::vector<std::vector<uint32_t>> alone;
    for (int64_t row = 0; row < kMaxDecodeRows; ++row) {
      alone.push_back(Bits(Multiply(problem, problem.x.data() + row * in, 1)));
    }
    for (int64_t rows = 1; rows <= kMaxDecodeRows; ++rows) {
      for (int64_t first = 0; first + rows <= kMaxDecodeRows; ++first) {
        const std::vector<float> y = Multiply(problem, problem.x.data() + first * in, rows);
        for (int64_t row = 0; row < rows; ++row) {
          ASSERT_EQ(Bits(absl::MakeConstSpan(y).subspan(row * out, out)), alone[first + row])
              << "row " << row << " of " << rows;
        }
      }
    }
  });
}

TEST_P(DecodeLinearTest, BitsDoNotDependOnTheThreads) {
  const Problem problem = MakeProblem(/*has_bias=*/false);
  OnEveryTarget([&] {
    const auto expected = Bits(Multiply(problem, problem.x.data(), 5));
    for (const int64_t parts : {2, 3, 8, 1000}) {
      ASSERT_EQ(Bits(Multiply(problem, problem.x.data(), 5, SplitFor(parts))), expected) << parts;
    }
  });
}

// (out, in): one of each, less than a vector, odd ones around chunks of 8, 16 and 32, and the demo
// model's.
constexpr std::pair<int64_t, int64_t> kShapes[] = {{1, 1},   {1, 576},  {3, 7},   {5, 31},
                                                   {7, 33},  {9, 63},   {4, 65},  {2, 130},
                                                   {67, 96}, {33, 576}, {6, 1536}};

std::string TestName(const ::testing::TestParamInfo<DecodeLinearTest::ParamType>& info) {
  const auto [out, in] = std::get<1>(info.param);
  return std::string(DTypeName(std::get<0>(info.param))) + "_" + std::to_string(out) + "x" +
         std::to_string(in);
}

INSTANTIATE_TEST_SUITE_P(All, DecodeLinearTest,
                         Combine(ValuesIn(kResidentDTypes), ValuesIn(kShapes)), TestName);

// A neighbouring weight row must not leak in: infinity times a padding zero would be NaN.
TEST(DecodeLinearEdgeTest, InfiniteWeightsStayInTheirRow) {
  Problem problem(DType::kBF16, 3, 35, /*has_bias=*/false);
  auto* weights = reinterpret_cast<uint16_t*>(problem.weights.bytes.data());
  std::fill_n(weights + 35, 35, uint16_t{0x7F80});
  OnEveryTarget([&] {
    const std::vector<float> y = Multiply(problem, problem.x.data(), 1);
    EXPECT_TRUE(std::isfinite(y[0]));
    EXPECT_FALSE(std::isfinite(y[1]));
    EXPECT_TRUE(std::isfinite(y[2]));
  });
}

}  // namespace
}  // namespace shira
