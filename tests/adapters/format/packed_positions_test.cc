#include "adapters/format/packed_positions.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "tests/testutil/adapter_builder.h"
#include "tests/testutil/status_matchers.h"

namespace shira {
namespace {

using ::shira::testing::IsOk;
using ::shira::testing::RandomPositions;
using ::shira::testing::StatusIs;
using ::testing::HasSubstr;

using ::shira::testing::kInvalid;

absl::Span<const std::byte> AsBytes(const std::string& text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

std::shared_ptr<const IndexTable> Table(int64_t rows, int64_t cols,
                                        const std::vector<int64_t>& positions) {
  return *IndexTable::Create(rows, cols, positions);
}

// A table's header and the bytes after it, as a test wants them.
std::string Packed(uint32_t rows, uint32_t cols, uint32_t entries, uint32_t parameter,
                   const std::string& gaps) {
  const uint32_t header[] = {rows, cols, entries, parameter};
  return std::string(reinterpret_cast<const char*>(header), sizeof(header)) + gaps;
}
std::string Word(uint64_t word) {
  return std::string(reinterpret_cast<const char*>(&word), sizeof(word));
}

void ExpectRoundTrip(const IndexTable& table) {
  ASSERT_OK_AND_ASSIGN(const std::string packed, PackPositions(table));
  ASSERT_OK_AND_ASSIGN(const auto unpacked, UnpackPositions(AsBytes(packed)));
  EXPECT_EQ(unpacked->rows(), table.rows());
  EXPECT_EQ(unpacked->cols(), table.cols());
  EXPECT_EQ(unpacked->digest(), table.digest());
}

// docs/adapter_format.md shows these bytes.
TEST(PackedPositionsTest, WritesTheBytesOfTheWorkedExample) {
  ASSERT_OK_AND_ASSIGN(const std::string packed, PackPositions(*Table(4, 8, {1, 6, 7, 17, 30})));
  // Gaps 1, 4, 0, 9, 12 with parameter 2: codes 1|01, 01|00, 1|00, 001|01, 0001|00, from bit 0 on.
  EXPECT_EQ(packed, Packed(4, 8, 5, 2, Word(0b00'1000'01'100'00'1'00'10'01'1)));
}

TEST(PackedPositionsTest, RoundTripsRandomTables) {
  std::mt19937 random(1);
  for (const auto& [rows, cols, count] : std::vector<std::tuple<int, int, int>>{{1, 1, 1},
                                                                                {1, 100, 3},
                                                                                {64, 64, 1},
                                                                                {64, 64, 4095},
                                                                                {64, 64, 2048},
                                                                                {300, 7, 11},
                                                                                {576, 576, 2304},
                                                                                {2, 70000, 5},
                                                                                {70000, 2, 5}}) {
    ExpectRoundTrip(*Table(rows, cols, RandomPositions(rows, cols, count, random)));
  }
}

TEST(PackedPositionsTest, EveryPositionCostsNothing) {
  std::vector<int64_t> every(1000);
  std::iota(every.begin(), every.end(), 0);
  const auto table = Table(20, 50, every);
  ASSERT_OK_AND_ASSIGN(const std::string packed, PackPositions(*table));
  EXPECT_EQ(packed.size(), 16);
  ExpectRoundTrip(*table);
}

// Gaps beyond 24 times the parameter's, up to the largest that there is.
TEST(PackedPositionsTest, RoundTripsRareGapsOfAnySize) {
  std::vector<int64_t> positions;
  for (int64_t i = 0; i < 1000; ++i) positions.push_back(i);
  for (int shift = 10; shift < 40; ++shift) {
    positions.push_back((int64_t{1} << shift) + shift);
    positions.push_back((int64_t{1} << shift) + shift + 1);
  }
  positions.push_back((int64_t{1} << 40) - 1);
  ExpectRoundTrip(*Table(1 << 20, 1 << 20, positions));
  ExpectRoundTrip(*Table(1 << 20, 1 << 20, {(int64_t{1} << 40) - 1}));
}

// The entropy of a random table of this density, and what the code costs beyond it.
TEST(PackedPositionsTest, IsCloseToTheEntropyOfRandomPositions) {
  std::mt19937 random(2);
  for (const int count : {100, 2304, 9216, 40000, 160000}) {
    const double p = count / (576.0 * 576.0);
    const double entropy = -(p * std::log2(p) + (1 - p) * std::log2(1 - p)) / p;
    ASSERT_OK_AND_ASSIGN(const std::string packed,
                         PackPositions(*Table(576, 576, RandomPositions(576, 576, count, random))));
    const double bits = 8.0 * packed.size();
    EXPECT_LT(bits, (entropy + 0.1) * count + 16 * 8 + 64) << count;
    if (count == 2304) {
      EXPECT_LT(bits / 8 / count, 1.12);  // PEFT's r = 2
    }
  }
}

TEST(PackedPositionsTest, RefusesAHeaderThatIsCutShort) {
  EXPECT_THAT(UnpackPositions(AsBytes(std::string(15, '\1'))),
              StatusIs(kInvalid, HasSubstr("expected a header of 16 bytes, found 15")));
}

TEST(PackedPositionsTest, RefusesAnEmptyOrHugeShape) {
  for (const std::string& packed :
       {Packed(0, 3, 1, 0, Word(1)), Packed(3, 0, 1, 0, Word(1)),
        Packed(1 << 20, (1 << 20) + 1, 1, 0, Word(1)), Packed(~0u, ~0u, 1, 0, Word(1))}) {
    EXPECT_THAT(UnpackPositions(AsBytes(packed)), StatusIs(kInvalid, HasSubstr("1 to 2^40")));
  }
}

TEST(PackedPositionsTest, RefusesNoEntriesAndMoreThanElements) {
  EXPECT_THAT(UnpackPositions(AsBytes(Packed(2, 3, 0, 0, ""))),
              StatusIs(kInvalid, HasSubstr("expected 1 to 6 entries, found 0")));
  EXPECT_THAT(UnpackPositions(AsBytes(Packed(2, 3, 7, 0, Word(~0ull)))),
              StatusIs(kInvalid, HasSubstr("expected 1 to 6 entries, found 7")));
}

TEST(PackedPositionsTest, RefusesAParameterOf32OrMore) {
  EXPECT_THAT(UnpackPositions(AsBytes(Packed(2, 3, 1, 32, Word(1)))),
              StatusIs(kInvalid, HasSubstr("parameter below 32, found 32")));
}

// Before memory for them is taken.
TEST(PackedPositionsTest, RefusesMoreEntriesThanTheBytesCanHold) {
  EXPECT_THAT(UnpackPositions(AsBytes(Packed(1 << 16, 1 << 16, 4'000'000'000u, 0, Word(~0ull)))),
              StatusIs(kInvalid, HasSubstr("expected bytes for 4000000000 entries, found 8")));
}

TEST(PackedPositionsTest, RefusesAPositionBeyondTheShape) {
  EXPECT_THAT(UnpackPositions(AsBytes(Packed(2, 3, 2, 0, Word(0b1000001)))),
              StatusIs(kInvalid, HasSubstr("entry 1: expected a position below 6, found 6")));
}

TEST(PackedPositionsTest, RefusesTheLongCodeForAShortGap) {
  EXPECT_THAT(UnpackPositions(AsBytes(Packed(10, 10, 1, 0, Word(uint64_t{23} << 24)))),
              StatusIs(kInvalid, HasSubstr("entry 0: expected the short code of a gap of 23")));
  EXPECT_THAT(UnpackPositions(AsBytes(Packed(10, 10, 1, 0, Word(uint64_t{24} << 24)))), IsOk());
}

TEST(PackedPositionsTest, RefusesBytesThatAreMissingOrLeftOver) {
  const std::string two_words = Packed(100, 100, 12, 9, Word(0x0842108421084210) + Word(1));
  for (size_t size = 16; size < two_words.size(); ++size) {
    EXPECT_FALSE(UnpackPositions(AsBytes(two_words.substr(0, size))).ok()) << size;
  }
  EXPECT_THAT(UnpackPositions(AsBytes(Packed(2, 3, 1, 0, Word(1) + Word(0)))),
              StatusIs(kInvalid, HasSubstr("expected 8 bytes of positions, found 16")));
  EXPECT_THAT(UnpackPositions(AsBytes(Packed(1, 2, 2, 0, Word(0)))),
              StatusIs(kInvalid, HasSubstr("expected 0 bytes of positions, found 8")));
}

TEST(PackedPositionsTest, RefusesBitsAfterTheLastPosition) {
  for (int bit = 1; bit < 64; ++bit) {
    EXPECT_THAT(UnpackPositions(AsBytes(Packed(2, 3, 1, 0, Word(1 | uint64_t{1} << bit)))),
                StatusIs(kInvalid, HasSubstr("expected zero bits")))
        << bit;
  }
}

}  // namespace
}  // namespace shira
