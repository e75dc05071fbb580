#include "server/model/encoded_matrix.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <optional>
#include <random>
#include <tuple>
#include <vector>

#include "base/float_types.h"
#include "server/model/gguf_dequantize.h"

namespace shira {
namespace {

using ::testing::ElementsAre;

constexpr GgmlType kTypes[] = {GgmlType::kF32,  GgmlType::kF16,  GgmlType::kBF16, GgmlType::kQ4_0,
                               GgmlType::kQ4_1, GgmlType::kQ5_0, GgmlType::kQ5_1, GgmlType::kQ8_0,
                               GgmlType::kQ4_K, GgmlType::kQ5_K, GgmlType::kQ6_K, GgmlType::kMXFP4};

std::vector<std::byte> RandomBytes(size_t count) {
  std::mt19937 random(count);
  std::vector<std::byte> bytes(count);
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(random());
  return bytes;
}

template <typename T>
std::vector<T> Decode(const EncodedMatrix& matrix, DType dtype, SourceRow source_row = &SameRow,
                      const ParallelFor& parallel_for = &SerialFor) {
  std::vector<T> out(matrix.rows * matrix.cols);
  DecodeMatrix(matrix, source_row, dtype, reinterpret_cast<std::byte*>(out.data()), parallel_for);
  return out;
}

template <typename T>
std::vector<uint16_t> BitsOf(const std::vector<T>& values) {
  std::vector<uint16_t> bits;
  for (const T value : values) bits.push_back(value.bits);
  return bits;
}

TEST(EncodedMatrixTest, RoundsOnceToNearestEven) {
  // Ties of bfloat16: 1 + 2^-8 goes down to 1, 1 + 3 * 2^-8 up to 1 + 2^-6.
  const float values[] = {1.00390625f, 1.01171875f, -2.0f};
  const EncodedMatrix matrix{GgmlType::kF32, reinterpret_cast<const std::byte*>(values), 1, 3};
  EXPECT_THAT(BitsOf(Decode<BFloat16>(matrix, DType::kBF16)), ElementsAre(0x3F80, 0x3F82, 0xC000));
  EXPECT_THAT(BitsOf(Decode<Float16>(matrix, DType::kF16)), ElementsAre(0x3C04, 0x3C0C, 0xC000));
}

TEST(EncodedMatrixTest, CopiesEveryBitOfTheResidentDType) {
  const std::vector<std::byte> bytes = RandomBytes(2 * 12);  // signalling NaNs or not
  const EncodedMatrix matrix{GgmlType::kBF16, bytes.data(), 3, 4};
  const auto copy = Decode<BFloat16>(matrix, DType::kBF16);
  EXPECT_EQ(std::memcmp(copy.data(), bytes.data(), bytes.size()), 0);
}

TEST(EncodedMatrixTest, TakesRowsInAnotherOrder) {
  const float values[] = {0, 1, 10, 11, 20, 21};
  const EncodedMatrix matrix{GgmlType::kF32, reinterpret_cast<const std::byte*>(values), 3, 2};
  EXPECT_THAT(Decode<float>(matrix, DType::kF32, [](int64_t row) { return 2 - row; }),
              ElementsAre(20, 21, 10, 11, 0, 1));
}

TEST(EncodedMatrixTest, TakesAwayWhatTheFileHasAdded) {
  const float values[] = {1.5f, 0.75f};
  const EncodedMatrix matrix{GgmlType::kF32, reinterpret_cast<const std::byte*>(values), 1, 2,
                             /*offset=*/1.0f};
  EXPECT_THAT(Decode<float>(matrix, DType::kF32), ElementsAre(0.5f, -0.25f));
  EXPECT_EQ(DecodeElementAt(matrix, 0, 1), -0.25f);
}

TEST(EncodedMatrixTest, TellsTheFirstElementThatIsNotFinite) {
  const int64_t rows = 70, cols = 131;  // no whole number of what is looked at together
  const auto first_bad = [&](const std::vector<float>& values, DType dtype, SourceRow source_row) {
    std::vector<std::byte> out(values.size() * DTypeSize(dtype));
    const EncodedMatrix matrix{GgmlType::kF32, reinterpret_cast<const std::byte*>(values.data()),
                               rows, cols};
    return DecodeMatrix(matrix, source_row, dtype, out.data(), &SerialFor);
  };
  const auto backwards = [](int64_t row) { return rows - 1 - row; };
  for (const auto& [dtype, largest, too_large] : {std::tuple(DType::kF32, 3.4028235e38f, INFINITY),
                                                  {DType::kBF16, 3.3895314e38f, 3.4e38f},
                                                  {DType::kF16, 65504.0f, 65520.0f}}) {
    std::vector<float> values(rows * cols, -largest);
    EXPECT_EQ(first_bad(values, dtype, &SameRow), std::nullopt);
    for (const float bad : {too_large, -too_large, NAN}) {
      for (const int64_t position : {0, 63, 64, 130, 131, 4000, 9169}) {
        values[position] = values[9169] = bad;
        EXPECT_EQ(first_bad(values, dtype, &SameRow), position);
        if (position == 9169) {
          EXPECT_EQ(first_bad(values, dtype, backwards), cols - 1);
        }
        values[position] = values[9169] = largest;
      }
    }
  }
}

// A block of every value, twice: in the order of their bits, and backwards.
TEST(EncodedMatrixTest, DecodesMxfp4) {
  const std::vector<float> values = {0.0f,  0.5f,  1.0f,  1.5f,  2.0f,  3.0f,  4.0f,  6.0f,
                                     -0.0f, -0.5f, -1.0f, -1.5f, -2.0f, -3.0f, -4.0f, -6.0f};
  std::vector<uint8_t> block = {130};  // 2^3; then bytes with elements i and i + 16
  std::vector<uint8_t> pairs;          // bytes with elements 2 i and 2 i + 1
  std::vector<float> expected, expected_of_pairs;
  for (int i = 0; i < 16; ++i) {
    block.push_back(static_cast<uint8_t>(i | ((15 - i) << 4)));
    expected.push_back(8.0f * values[i]);
  }
  for (int i = 16; i-- > 0;) expected.push_back(8.0f * values[i]);
  const auto decode = [](const std::vector<uint8_t>& bytes, const std::vector<uint8_t>* exponents) {
    EncodedMatrix matrix{GgmlType::kMXFP4, reinterpret_cast<const std::byte*>(bytes.data()), 1, 32};
    if (exponents != nullptr) matrix.scales = reinterpret_cast<const std::byte*>(exponents->data());
    return Decode<float>(matrix, DType::kF32);
  };
  EXPECT_EQ(decode(block, nullptr), expected);
  EXPECT_FALSE(std::signbit(decode(block, nullptr)[8]));

  for (int i = 0; i < 16; ++i) {
    pairs.push_back(static_cast<uint8_t>(i | ((15 - i) << 4)));
    expected_of_pairs.push_back(8.0f * values[i]);
    expected_of_pairs.push_back(8.0f * values[15 - i]);
  }
  const std::vector<uint8_t> scales = {130};
  EXPECT_EQ(decode(pairs, &scales), expected_of_pairs);
  EXPECT_TRUE(std::signbit(decode(pairs, &scales)[16]));

  // The least and the largest scale: 2^-127 and 2^128.
  block[0] = 0;
  EXPECT_EQ(decode(block, nullptr)[1], 0x1p-128f);
  EXPECT_EQ(decode(block, nullptr)[7], 6 * 0x1p-127f);
  block[0] = 255;
  EXPECT_EQ(decode(block, nullptr)[1], 0x1p127f);
  EXPECT_EQ(decode(block, nullptr)[7], INFINITY);
}

TEST(EncodedMatrixTest, DecodesMxfp4WithScalesApart) {
  const int64_t rows = 5, cols = 2304;  // more than what is converted at a time
  const std::vector<std::byte> blocks = RandomBytes(rows * cols / 2);
  std::vector<std::byte> scales;
  for (int64_t i = 0; i < rows * cols / 32; ++i) {
    scales.push_back(static_cast<std::byte>(120 + i % 9));
  }
  const EncodedMatrix matrix{.type = GgmlType::kMXFP4,
                             .data = blocks.data(),
                             .rows = rows,
                             .cols = cols,
                             .scales = scales.data()};
  const std::vector<float> found =
      Decode<float>(matrix, DType::kF32, [](int64_t row) { return rows - 1 - row; });
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t col = 0; col < cols; ++col) {
      const int64_t at = (rows - 1 - row) * cols + col;
      const int bits = (static_cast<int>(blocks[at / 2]) >> (at % 2 == 0 ? 0 : 4)) & 15;
      const int exponent = (bits >> 1) & 3;
      const double mantissa = exponent == 0 ? 0.5 * (bits & 1) : 1.0 + 0.5 * (bits & 1);
      const double magnitude = std::ldexp(mantissa, std::max(exponent - 1, 0));
      const double expected =
          std::ldexp(bits < 8 ? magnitude : -magnitude, static_cast<int>(scales[at / 32]) - 127);
      ASSERT_EQ(found[row * cols + col], expected) << row << ", " << col;
      ASSERT_EQ(DecodeElementAt(matrix, rows - 1 - row, col), expected) << row << ", " << col;
    }
  }
}

TEST(EncodedMatrixTest, TakesColumnsForRows) {
  const int64_t rows = 70, cols = 2111;  // more than what is converted at a time, of both
  std::vector<float> values(rows * cols);
  for (int64_t i = 0; i < rows * cols; ++i) values[i] = static_cast<float>(i % 2003);
  std::vector<BFloat16> halves;
  for (const float value : values) halves.push_back(FromFloat<BFloat16>(value));
  const auto expect = [&](const EncodedMatrix& matrix, DType dtype, auto element) {
    using T = decltype(element);
    const std::vector<T> found = Decode<T>(matrix, dtype);
    for (int64_t row = 0; row < rows; ++row) {
      for (int64_t col = 0; col < cols; ++col) {
        const float value = DecodeElementAt(matrix, row, col);
        ASSERT_EQ(value, matrix.type == GgmlType::kF32 ? values[col * rows + row]
                                                       : ToFloat(halves[col * rows + row]));
        ASSERT_EQ(ToFloat(found[row * cols + col]), ToFloat(FromFloat<T>(value)))
            << row << ", " << col;
      }
    }
  };
  EncodedMatrix matrix{GgmlType::kF32, reinterpret_cast<const std::byte*>(values.data()), rows,
                       cols};
  matrix.transposed = true;
  expect(matrix, DType::kF32, float());
  expect(matrix, DType::kF16, Float16());
  matrix.type = GgmlType::kBF16;
  matrix.data = reinterpret_cast<const std::byte*>(halves.data());
  expect(matrix, DType::kBF16, BFloat16());
  expect(matrix, DType::kF32, float());
}

TEST(EncodedMatrixTest, LeavesRowsBetweenItsOwnAsTheyAre) {
  const float values[] = {1, 2, 3, 4, NAN, 6};
  for (const bool transposed : {false, true}) {
    EncodedMatrix matrix{GgmlType::kF32, reinterpret_cast<const std::byte*>(values), 2, 2};
    matrix.transposed = transposed;
    std::vector<float> out(8, 9.0f);
    auto* to = reinterpret_cast<std::byte*>(out.data());
    const auto decode = [&] {
      return DecodeMatrix(matrix, &SameRow, DType::kF32, to, &SerialFor, /*row_step=*/2);
    };
    EXPECT_EQ(decode(), std::nullopt);
    if (transposed) {
      EXPECT_THAT(out, ElementsAre(1, 3, 9, 9, 2, 4, 9, 9));
    } else {
      EXPECT_THAT(out, ElementsAre(1, 2, 9, 9, 3, 4, 9, 9));
    }
    matrix.data += 2 * sizeof(float);  // 3, 4, NaN, 6
    EXPECT_EQ(decode(), transposed ? 1 : 2);
  }
}

TEST(EncodedMatrixTest, DecodesOneElement) {
  const std::vector<std::byte> bytes = RandomBytes(2 * 2 * 210);
  const EncodedMatrix matrix{GgmlType::kQ6_K, bytes.data(), 2, 512};
  const std::vector<float> all = Decode<float>(matrix, DType::kF32);
  for (const int64_t at : {0, 255, 256, 1023}) {
    const float one = DecodeElementAt(matrix, at / 512, at % 512);
    EXPECT_EQ(std::memcmp(&one, &all[at], sizeof(one)), 0) << at;
  }
}

TEST(EncodedMatrixTest, AnySplitOfTheRowsGivesTheSameBits) {
  // Rows longer than what is converted at a time.
  const int64_t rows = 7, cols = 2304;
  const std::vector<std::byte> bytes = RandomBytes(rows * cols / 256 * 210);
  const EncodedMatrix matrix{GgmlType::kQ6_K, bytes.data(), rows, cols};
  const auto row_by_row = [](int64_t count, absl::FunctionRef<void(int64_t, int64_t)> body) {
    for (int64_t i = count; i-- > 0;) body(i, i + 1);
  };
  EXPECT_EQ(BitsOf(Decode<Float16>(matrix, DType::kF16)),
            BitsOf(Decode<Float16>(matrix, DType::kF16, &SameRow, row_by_row)));
}

TEST(EncodedMatrixTest, AnyBytesAreBlocksAndNeedNoAlignment) {
  for (const GgmlType type : kTypes) {
    const GgmlBlock block = GgmlBlockOf(type);
    ASSERT_EQ(kMaxBlockElements % block.elements, 0) << GgmlTypeName(type);
    const int64_t cols = 3 * kMaxBlockElements;
    const std::vector<std::byte> bytes = RandomBytes(1 + 2 * cols / block.elements * block.bytes);
    for (const DType dtype : {DType::kF32, DType::kBF16, DType::kF16}) {
      std::vector<std::byte> out(1 + 2 * cols * DTypeSize(dtype));
      DecodeMatrix({type, bytes.data() + 1, 2, cols}, &SameRow, dtype, out.data() + 1, &SerialFor);
    }
  }
}

}  // namespace
}  // namespace shira
