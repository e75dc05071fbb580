#include "server/model/kernels/layers.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <numbers>

#include "tests/server/model/kernels/kernel_testing.h"
#include "tests/testutil/dtype_test_name.h"

namespace shira {
namespace {

using ::shira::testing::DTypeTestName;

// Less than a vector, whole vectors, and both.
constexpr int64_t kSizes[] = {1, 3, 8, 16, 31, 64, 77, 576};

class LayersTest : public ::testing::TestWithParam<DType> {
 protected:
  DType dtype() const { return GetParam(); }
  // Each of `roundings` results is off by half a step; fp32 itself adds some.
  double Tolerance(double magnitude, int roundings) const {
    return magnitude * (roundings * RoundingError(dtype()) * 1.02 + 0x1p-20) + 1e-7;
  }
  void ExpectValues(const std::vector<float>& values) const {
    for (const float value : values) EXPECT_EQ(value, RoundedTo(dtype(), value));
  }

  std::mt19937 random_{11};
};

TEST_P(LayersTest, WideningAndNarrowingKeepEveryValue) {
  for (const int64_t size : kSizes) {
    const Numbers numbers = RandomNumbers(dtype(), size, random_);
    OnEveryTarget([&] {
      std::vector<float> wide(size);
      WidenRow(dtype(), numbers.bytes.data(), size, wide.data());
      EXPECT_EQ(wide, numbers.values);
    });
  }
}

TEST_P(LayersTest, AScaledValueIsRoundedOnce) {
  const float scale = RoundedTo(dtype(), 1.3f);
  for (const int64_t size : kSizes) {
    const Numbers numbers = RandomNumbers(dtype(), size, random_);
    OnEveryTarget([&] {
      std::vector<float> scaled = numbers.values;
      ScaleRow(dtype(), scale, size, scaled.data());
      for (int64_t i = 0; i < size; ++i) {
        EXPECT_EQ(scaled[i], RoundedTo(dtype(), numbers.values[i] * scale)) << i;
      }
    });
  }
}

// Sums of every size: subnormal, normal, ties, overflowing, infinite.
TEST_P(LayersTest, ASumIsRoundedAsStoringRoundsIt) {
  std::vector<float> x, delta;
  for (int exponent = -45; exponent <= 40; ++exponent) {
    for (const float mantissa : {1.0f, -1.00390625f, 1.001f, 1.01171875f, -1.9999f}) {
      x.push_back(std::ldexp(mantissa, exponent));
      delta.push_back(std::ldexp(0.00048828125f, exponent) * (exponent % 2 == 0 ? 1.0f : 0.3f));
    }
  }
  for (const float value :
       {65504.0f, 65519.9f, 65520.0f, -7e4f, 3.4e38f, 0.0f, -0.0f,
        std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()}) {
    x.push_back(value);
    delta.push_back(0.0f);
  }
  OnEveryTarget([&] {
    std::vector<float> sum = x;
    AddRow(dtype(), delta.data(), static_cast<int64_t>(x.size()), sum.data());
    for (size_t i = 0; i < x.size(); ++i) {
      const float expected = RoundedTo(dtype(), x[i] + delta[i]);
      if (std::isnan(expected)) {
        EXPECT_TRUE(std::isnan(sum[i]));
      } else {
        EXPECT_EQ(std::bit_cast<uint32_t>(sum[i]), std::bit_cast<uint32_t>(expected))
            << x[i] << " + " << delta[i];
      }
    }
  });
}

TEST_P(LayersTest, NormsEqualDouble) {
  for (const int64_t size : kSizes) {
    for (const double eps : {1e-5, 0.1}) {
      const std::vector<float> x = RandomNumbers(dtype(), size, random_, 0.3f).values;
      const Numbers weight = RandomNumbers(dtype(), size, random_);
      const Numbers bias = RandomNumbers(dtype(), size, random_);
      const auto length = static_cast<double>(size);
      double sum = 0.0, squares = 0.0, deviations = 0.0;
      for (const float value : x) sum += value;
      for (const float value : x) squares += static_cast<double>(value) * value;
      for (const float value : x) deviations += std::pow(value - sum / length, 2);
      const double rms = std::sqrt(squares / length + eps);
      const double deviation = std::sqrt(deviations / length + eps);
      const auto expected = [&](NormKind kind, bool has_bias, int64_t i) -> double {
        if (kind == NormKind::kRmsPlusOne) return x[i] / rms * (1.0 + weight.values[i]);
        if (kind != NormKind::kLayer) return x[i] / rms * weight.values[i];
        return (x[i] - sum / length) / deviation * weight.values[i] +
               (has_bias ? bias.values[i] : 0.0);
      };
      const auto check = [&](NormKind kind, const void* bias_data, int roundings) {
        const NormWeights weights = {weight.bytes.data(), bias_data};
        std::vector<float> y(size);
        NormRow(dtype(), kind, x.data(), weights, eps, size, y.data());
        for (int64_t i = 0; i < size; ++i) {
          const double value = expected(kind, bias_data != nullptr, i);
          double fp32_magnitude = 0.0;
          if (kind == NormKind::kLayer) {
            // What cancels in the differences from the mean, and in adding the bias.
            fp32_magnitude = std::abs(bias.values[i]) + (std::abs(x[i]) + std::abs(sum / length)) /
                                                            deviation * std::abs(weight.values[i]);
          }
          ASSERT_NEAR(y[i], value, Tolerance(std::abs(value), roundings) + fp32_magnitude * 0x1p-20)
              << size;
        }
        ExpectValues(y);
        std::vector<float> in_place = x;
        NormRow(dtype(), kind, in_place.data(), weights, eps, size, in_place.data());
        EXPECT_EQ(in_place, y);
      };
      OnEveryTarget([&] {
        check(NormKind::kRms, nullptr, 2);
        check(NormKind::kRmsFloat, nullptr, 1);
        check(NormKind::kRmsPlusOne, nullptr, 1);
        check(NormKind::kLayer, nullptr, 1);
        check(NormKind::kLayer, bias.bytes.data(), 1);
      });
    }
  }
}

TEST_P(LayersTest, ScalingDividingAndCappingRoundEachStep) {
  for (const int64_t size : kSizes) {
    const std::vector<float> x = RandomNumbers(dtype(), size, random_, 20.0f).values;
    OnEveryTarget([&] {
      std::vector<float> scaled = x, divided = x, capped = x;
      ScaleRow(dtype(), 0.22, size, scaled.data());
      DivideRow(dtype(), 6.0, size, divided.data());
      SoftcapRow(dtype(), 30.0, size, capped.data());
      for (int64_t i = 0; i < size; ++i) {
        EXPECT_EQ(scaled[i], RoundedTo(dtype(), x[i] * 0.22f));
        EXPECT_EQ(divided[i], RoundedTo(dtype(), x[i] / 6.0f));
        ASSERT_NEAR(capped[i], 30.0 * std::tanh(x[i] / 30.0), Tolerance(std::abs(x[i]), 3));
      }
      ExpectValues(capped);
    });
  }
}

TEST_P(LayersTest, HeadsOfAProjectionAreStacked) {
  const std::vector<float> by_head = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};  // [2, 3, 2]
  std::vector<float> stacked(by_head.size());
  StackHeadsRow(by_head.data(), 2, 2, stacked.data());
  EXPECT_EQ(stacked, (std::vector<float>{0, 1, 6, 7, 2, 3, 8, 9, 4, 5, 10, 11}));
}

TEST_P(LayersTest, HeadsTurnByTheirAngles) {
  constexpr int64_t kHeads = 3;
  constexpr struct {
    int64_t head_dim, rotary_dim;
  } kWidths[] = {{2, 2}, {16, 16}, {24, 24}, {64, 64}, {80, 80}, {80, 20}, {24, 16}};
  for (const auto& widths : kWidths) {
    const int64_t head_dim = widths.head_dim, rotary_dim = widths.rotary_dim;
    const int64_t half = rotary_dim / 2;
    const std::vector<float> heads = RandomNumbers(dtype(), kHeads * head_dim, random_).values;
    std::vector<float> cos, sin;
    for (int64_t i = 0; i < half; ++i) {
      cos.push_back(RoundedTo(dtype(), std::cos(0.7 * static_cast<double>(i))));
      sin.push_back(RoundedTo(dtype(), std::sin(0.7 * static_cast<double>(i))));
    }
    OnEveryTarget([&] {
      std::vector<float> turned = heads;
      RotateRow(dtype(), cos.data(), sin.data(), kHeads, head_dim, rotary_dim, turned.data());
      for (int64_t head = 0; head < kHeads; ++head) {
        for (int64_t i = 0; i < half; ++i) {
          const int64_t at = head * head_dim + i;
          const double a = heads[at], b = heads[at + half];
          const double tolerance = Tolerance(std::abs(a) + std::abs(b), 2);
          ASSERT_NEAR(turned[at], a * cos[i] - b * sin[i], tolerance);
          ASSERT_NEAR(turned[at + half], b * cos[i] + a * sin[i], tolerance);
        }
        for (int64_t i = rotary_dim; i < head_dim; ++i) {
          ASSERT_EQ(turned[head * head_dim + i], heads[head * head_dim + i]);
        }
      }
      ExpectValues(turned);
    });
  }
}

TEST_P(LayersTest, AWeightedSumIsRoundedOnceUnlessItsProductsAreToBe) {
  const std::vector<int64_t> indices = {3, 0, 4};
  for (const int64_t size : kSizes) {
    const Numbers rows = RandomNumbers(dtype(), 5 * size, random_);
    const std::vector<float> factors = RandomNumbers(dtype(), 3, random_).values;
    OnEveryTarget([&] {
      for (const bool round_products : {false, true}) {
        std::vector<float> sum(size);
        SumWeightedRows(dtype(), round_products, rows.values.data(), indices, factors, size,
                        sum.data());
        for (int64_t i = 0; i < size; ++i) {
          double expected = 0.0, magnitude = 0.0;
          for (size_t term = 0; term < indices.size(); ++term) {
            float product = rows.values[indices[term] * size + i] * factors[term];
            if (round_products) product = RoundedTo(dtype(), product);
            expected += product;
            magnitude += std::abs(product);
          }
          // Sums in fp32 may fall on the other side of a tie than those in double.
          ASSERT_NEAR(sum[i], expected, Tolerance(std::abs(expected), 1) + magnitude * 0x1p-22)
              << i << (round_products ? ", rounded products" : "");
        }
        ExpectValues(sum);
      }
    });
  }
}

double ActivationOf(Activation activation, double x) {
  switch (activation) {
    case Activation::kSilu:
      return x / (1.0 + std::exp(-x));
    case Activation::kGelu:
      return x * 0.5 * std::erfc(-x / std::sqrt(2.0));
    case Activation::kGeluTanh:
      return x * 0.5 *
             (1.0 + std::tanh(std::sqrt(2.0 / std::numbers::pi) * (x + 0.044715 * x * x * x)));
  }
  return NAN;
}

TEST_P(LayersTest, ActivationsEqualDouble) {
  for (const Activation activation :
       {Activation::kSilu, Activation::kGelu, Activation::kGeluTanh}) {
    for (const int64_t size : kSizes) {
      std::vector<float> gate_up = RandomNumbers(dtype(), 2 * size, random_, 3.0f).values;
      gate_up[0] = -1000.0f;
      if (size > 2) gate_up[1] = 1000.0f;
      OnEveryTarget([&] {
        std::vector<float> gated(size), activated(size);
        GateRow(dtype(), activation, gate_up.data(), size, gated.data());
        ActivateRow(dtype(), activation, gate_up.data(), size, activated.data());
        for (int64_t i = 0; i < size; ++i) {
          const double expected = ActivationOf(activation, gate_up[i]);
          // The error of erf's approximation, times the argument.
          const double more = activation == Activation::kSilu ? 0.0 : 4e-7;
          ASSERT_NEAR(activated[i], expected, Tolerance(std::abs(expected), 1) + more)
              << gate_up[i];
          const double up = gate_up[size + i];
          ASSERT_NEAR(gated[i], expected * up,
                      Tolerance(std::abs(expected * up), 2) + more * std::abs(up))
              << gate_up[i];
        }
        ExpectValues(gated);
        ExpectValues(activated);
      });
    }
  }
}

TEST_P(LayersTest, AClampedGateEqualsDouble) {
  const ClampedGate gate = {.slope = 1.702, .limit = 2.5};
  for (const int64_t size : kSizes) {
    std::vector<float> pairs = RandomNumbers(dtype(), 2 * size, random_, 3.0f).values;
    pairs[0] = -1000.0f;
    if (size > 2) pairs[2] = 1000.0f;
    OnEveryTarget([&] {
      std::vector<float> gated(size);
      ClampedGateRow(dtype(), gate, pairs.data(), size, gated.data());
      for (int64_t i = 0; i < size; ++i) {
        const double g = std::min<double>(pairs[2 * i], gate.limit);
        const double u = std::clamp<double>(pairs[2 * i + 1], -gate.limit, gate.limit);
        const double expected = g / (1.0 + std::exp(-gate.slope * g)) * (u + 1.0);
        // What the rounding of the exponent makes of it, and half a step of a subnormal half.
        const double more = std::abs(gate.slope * g * expected) * RoundingError(dtype()) +
                            std::abs(g * (u + 1.0)) * 0x1p-25;
        ASSERT_NEAR(gated[i], expected, Tolerance(std::abs(expected), 4) + more)
            << pairs[2 * i] << ", " << pairs[2 * i + 1];
      }
      ExpectValues(gated);
    });
  }
}

INSTANTIATE_TEST_SUITE_P(All, LayersTest, ::testing::ValuesIn(kResidentDTypes), DTypeTestName);

}  // namespace
}  // namespace shira
