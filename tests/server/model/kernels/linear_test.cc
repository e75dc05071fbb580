#include "server/model/kernels/linear.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <tuple>

#include "tests/server/model/kernels/linear_testing.h"

namespace shira {
namespace {

using ::testing::Combine;
using ::testing::ValuesIn;

constexpr int64_t kRows = 40;

class LinearTest : public ::testing::TestWithParam<std::tuple<DType, OutAndIn>> {
 protected:
  DType dtype() const { return std::get<0>(GetParam()); }
  LinearProblem MakeProblem(bool has_bias, int64_t rows = kRows) const {
    const auto [out, in] = std::get<1>(GetParam());
    return LinearProblem(dtype(), out, in, rows, has_bias);
  }
};

TEST_P(LinearTest, EqualsSumsInDouble) {
  for (const bool has_bias : {false, true}) {
    const LinearProblem problem = MakeProblem(has_bias, 17);
    const auto [out, in] = std::get<1>(GetParam());
    std::vector<double> sums, tolerances;
    for (int64_t row = 0; row < problem.rows; ++row) {
      for (int64_t o = 0; o < out; ++o) {
        double sum = has_bias ? problem.biases.values[o] : 0.0;
        double magnitude = std::abs(sum);
        for (int64_t i = 0; i < in; ++i) {
          const double product = static_cast<double>(problem.weights.values[o * in + i]) *
                                 static_cast<double>(problem.x[row * in + i]);
          sum += product;
          magnitude += std::abs(product);
        }
        sums.push_back(sum);
        // The order of fp32 sums, and one rounding to the dtype.
        tolerances.push_back(magnitude * std::sqrt(in + 1.0) * 0x1p-24 +
                             std::abs(sum) * RoundingError(dtype()) * 1.01);
      }
    }
    OnEveryArithmetic([&] {
      const std::vector<float> y = Multiply(problem.weight, problem.x.data(), problem.rows);
      for (size_t i = 0; i < y.size(); ++i) {
        ASSERT_NEAR(y[i], sums[i], tolerances[i]) << "element " << i;
        ASSERT_EQ(y[i], RoundedTo(dtype(), y[i])) << "is no value of the dtype";
      }
    });
  }
}

TEST_P(LinearTest, ARowsBitsDoNotDependOnItsCompanions) {
  const LinearProblem problem = MakeProblem(/*has_bias=*/true);
  const auto [out, in] = std::get<1>(GetParam());
  OnEveryArithmetic([&, out = out, in = in] {
    std::vector<uint32_t> alone;
    for (int64_t row = 0; row < kRows; ++row) {
      const auto bits = Bits(Multiply(problem.weight, problem.x.data() + row * in, 1));
      alone.insert(alone.end(), bits.begin(), bits.end());
    }
    for (int64_t rows = 1; rows <= kRows; ++rows) {
      for (const int64_t first : {int64_t{0}, (kRows - rows) / 2, kRows - rows}) {
        const auto bits = Bits(Multiply(problem.weight, problem.x.data() + first * in, rows));
        ASSERT_TRUE(std::equal(bits.begin(), bits.end(), alone.begin() + first * out))
            << rows << " rows from " << first;
      }
    }
  });
}

TEST_P(LinearTest, BitsDoNotDependOnTheThreads) {
  for (const int64_t rows : {1, 5, 40}) {
    const LinearProblem problem = MakeProblem(/*has_bias=*/false, rows);
    OnEveryArithmetic([&] {
      const auto expected = Bits(Multiply(problem.weight, problem.x.data(), rows));
      for (const int64_t parts : {2, 3, 8, 1000}) {
        const auto bits = Bits(Multiply(problem.weight, problem.x.data(), rows, SplitFor(parts)));
        ASSERT_EQ(bits, expected) << rows << " rows in " << parts << " parts";
      }
    });
  }
}

// (out, in): one of each, less than a vector, odd ones around steps of 8, 16 and 32, and the demo
// model's.
constexpr OutAndIn kShapes[] = {{1, 1},  {1, 576}, {3, 7},   {5, 31},   {7, 33},   {9, 63},
                                {4, 65}, {2, 130}, {67, 96}, {33, 576}, {10, 1536}};

INSTANTIATE_TEST_SUITE_P(All, LinearTest, Combine(ValuesIn(kResidentDTypes), ValuesIn(kShapes)),
                         LinearTestName);

// So many rows that they are packed by all threads and multiplied in several panels.
TEST(LinearPanelTest, RowsOfEveryPanelEqualRowsAlone) {
  constexpr int64_t kManyRows = 700;
  for (const DType dtype : kResidentDTypes) {
    const LinearProblem problem(dtype, 6, 600, kManyRows, /*has_bias=*/true);
    OnEveryArithmetic([&] {
      const std::vector<float> y =
          Multiply(problem.weight, problem.x.data(), kManyRows, SplitFor(3));
      for (int64_t row = 0; row < kManyRows; row += 13) {
        ASSERT_EQ(Bits(absl::MakeConstSpan(y).subspan(row * 6, 6)),
                  Bits(Multiply(problem.weight, problem.x.data() + row * 600, 1)))
            << "row " << row;
      }
    });
  }
}

// A neighbouring weight row must not leak in: infinity times a padding zero would be NaN.
TEST(LinearEdgeTest, InfiniteWeightsStayInTheirRow) {
  for (const int64_t rows : {1, 9}) {
    LinearProblem problem(DType::kBF16, 6, 35, rows, /*has_bias=*/false);
    auto* weights = reinterpret_cast<uint16_t*>(problem.weights.bytes.data());
    std::fill_n(weights + 35, 35, uint16_t{0x7F80});
    OnEveryArithmetic([&] {
      const std::vector<float> y = Multiply(problem.weight, problem.x.data(), rows);
      for (int64_t i = 0; i < rows * 6; ++i) EXPECT_EQ(std::isfinite(y[i]), i % 6 != 1) << i;
    });
  }
}

}  // namespace
}  // namespace shira
