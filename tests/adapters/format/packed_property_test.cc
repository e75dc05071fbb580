// Packed files of random adapters: what was packed is read again, and whatever happens to a byte,
// the file is refused or means the same.

#include <cmath>
#include <random>

#include "adapters/format/packed_writer.h"
#include "base/float_types.h"
#include "tests/adapters/format/format_fixture.h"

namespace shira {
namespace {

using ::shira::testing::FormatTest;
using ::shira::testing::MakeDelta;
using ::shira::testing::RandomPositions;

class PackedPropertyTest : public FormatTest {
 protected:
  int64_t Uniform(int64_t low, int64_t high) {
    return std::uniform_int_distribution<int64_t>(low, high)(random_);
  }

  // Any finite float, subnormals and negative zero among them.
  float AnyFloat() {
    for (;;) {
      const float value = std::bit_cast<float>(static_cast<uint32_t>(random_()));
      if (std::isfinite(value)) return value;
    }
  }

  // Registers the shapes in base_ as it goes.
  SparseAdapter RandomAdapter(int64_t max_side) {
    SparseAdapter adapter;
    adapter.format = "random";
    const int64_t parameters = Uniform(1, 6);
    for (int64_t i = 0; i < parameters; ++i) {
      const bool like_before = i > 0 && Uniform(0, 1) == 0;
      const int64_t rows = Uniform(1, max_side);
      const int64_t cols = Uniform(1, max_side);
      ParameterDelta delta = MakeDelta(
          "layers." + std::to_string(i) + ".weight", rows, cols,
          RandomPositions(rows, cols, Uniform(1, std::min<int64_t>(rows * cols, 2000)), random_),
          random_);
      if (like_before) {
        delta.table = adapter.deltas.back().table;
        delta.values.resize(delta.table->entries());
      }
      delta.kind = Uniform(0, 1) == 0 ? ValueKind::kDelta : ValueKind::kReplacement;
      const bool narrow = Uniform(0, 1) == 0;
      for (float& value : delta.values) {
        value = AnyFloat();
        if (narrow) {
          value = std::bit_cast<float>(std::bit_cast<uint32_t>(value) & 0xFFFF0000u);
        }
      }
      base_.parameters[delta.parameter] = {delta.table->rows(), delta.table->cols()};
      adapter.deltas.push_back(std::move(delta));
    }
    if (Uniform(0, 1) == 0) adapter.scale = std::abs(AnyFloat());
    return adapter;
  }

  AdapterOr Parse(std::string bytes) const {
    AdapterFiles files;
    files.tensors_path = "memory";
    files.tensors = std::move(bytes);
    return AdapterReader(base_, {}).Parse(files);
  }

  static bool BitEqual(const std::vector<float>& a, const std::vector<float>& b) {
    return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
  }

  static void ExpectSame(const SparseAdapter& actual, const SparseAdapter& expected) {
    EXPECT_EQ(actual.scale, expected.scale);
    EXPECT_EQ(actual.rounds_values, expected.rounds_values);
    EXPECT_EQ(actual.base_model, expected.base_model);
    ASSERT_EQ(actual.deltas.size(), expected.deltas.size());
    for (size_t i = 0; i < expected.deltas.size(); ++i) {
      EXPECT_EQ(actual.deltas[i].parameter, expected.deltas[i].parameter);
      EXPECT_EQ(actual.deltas[i].kind, expected.deltas[i].kind);
      EXPECT_EQ(actual.deltas[i].table->digest(), expected.deltas[i].table->digest());
      EXPECT_TRUE(BitEqual(actual.deltas[i].values, expected.deltas[i].values)) << i;
    }
  }

  std::mt19937 random_{20260101};
};

TEST_F(PackedPropertyTest, WhatWasPackedIsReadAgainBitForBit) {
  for (int round = 0; round < 200; ++round) {
    SCOPED_TRACE(round);
    base_.parameters.clear();
    const SparseAdapter adapter = RandomAdapter(round % 2 == 0 ? 8 : 300);
    ASSERT_OK_AND_ASSIGN(const PackedFile packed, PackAdapter(adapter, {}));
    ASSERT_OK_AND_ASSIGN(const auto read, Parse(packed.bytes));
    ExpectSame(*read, adapter);
  }
}

TEST_F(PackedPropertyTest, RoundingIsToTheNearestBf16AndItsErrorIsReported) {
  for (int round = 0; round < 50; ++round) {
    SCOPED_TRACE(round);
    base_.parameters.clear();
    SparseAdapter adapter = RandomAdapter(40);
    double worst = 0;
    for (ParameterDelta& delta : adapter.deltas) {
      for (float& value : delta.values) {
        if (std::abs(value) > 1e38f) value = 0.1f;
        worst =
            std::max(worst, std::abs(double{value} - double{ToFloat(FromFloat<BFloat16>(value))}));
      }
    }
    ASSERT_OK_AND_ASSIGN(const PackedFile packed, PackAdapter(adapter, {.round_to_bf16 = true}));
    EXPECT_EQ(packed.report.max_rounding_error, worst);
    for (ParameterDelta& delta : adapter.deltas) {
      for (float& value : delta.values) value = ToFloat(FromFloat<BFloat16>(value));
    }
    ASSERT_OK_AND_ASSIGN(const auto read, Parse(packed.bytes));
    ExpectSame(*read, adapter);
  }
}

// All 255 other values of every byte.
TEST_F(PackedPropertyTest, ADamagedByteIsRefusedOrMeansTheSame) {
  const SparseAdapter adapter = RandomAdapter(4);
  ASSERT_OK_AND_ASSIGN(const PackedFile packed, PackAdapter(adapter, {.tool = "test"}));
  for (size_t i = 0; i < packed.bytes.size(); ++i) {
    for (int change = 1; change < 256; ++change) {
      std::string damaged = packed.bytes;
      damaged[i] = static_cast<char>(damaged[i] ^ change);
      const auto read = Parse(std::move(damaged));
      if (!read.ok()) continue;
      ExpectSame(**read, adapter);
      // The header's padding may be other white space, and nothing else may change.
      ASSERT_EQ(packed.bytes[i], ' ') << "byte " << i << " changed by " << change;
      ASSERT_FALSE(HasFailure()) << "byte " << i << " changed by " << change;
    }
  }
}

TEST_F(PackedPropertyTest, ATruncatedFileIsRefused) {
  ASSERT_OK_AND_ASSIGN(const PackedFile packed, PackAdapter(RandomAdapter(4), {}));
  for (size_t size = 0; size < packed.bytes.size(); ++size) {
    EXPECT_FALSE(Parse(packed.bytes.substr(0, size)).ok()) << size;
  }
}

}  // namespace
}  // namespace shira
