#include "adapters/index_table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <iterator>
#include <random>
#include <vector>

#include "absl/status/status.h"
#include "tests/testutil/adapter_builder.h"
#include "tests/testutil/status_matchers.h"

namespace shira {
namespace {

using ::shira::testing::FlatPositionsOf;
using ::shira::testing::RandomPositions;
using ::shira::testing::StatusIs;
using ::testing::HasSubstr;

struct Shape {
  int64_t rows;
  int64_t cols;
  int64_t rows_per_block;
  int64_t bytes_per_entry;
};

class IndexTableShapeTest : public ::testing::TestWithParam<Shape> {};

TEST_P(IndexTableShapeTest, GivesBackItsPositionsInTheSmallestWidthThatFits) {
  const auto [rows, cols, rows_per_block, bytes_per_entry] = GetParam();
  std::mt19937 random(1);
  std::vector<int64_t> positions = RandomPositions(rows, cols, rows, random);
  for (const int64_t edge : {int64_t{0}, cols - 1, rows * cols - 1}) {
    const auto place = std::lower_bound(positions.begin(), positions.end(), edge);
    if (place == positions.end() || *place != edge) positions.insert(place, edge);
  }
  ASSERT_OK_AND_ASSIGN(const auto table, IndexTable::Create(rows, cols, positions));
  EXPECT_EQ(FlatPositionsOf(*table), positions);
  EXPECT_EQ(table->entries(), static_cast<int64_t>(positions.size()));
  EXPECT_EQ(table->rows_per_block(), rows_per_block);
  EXPECT_EQ(table->blocks(), (rows + rows_per_block - 1) / rows_per_block);
  EXPECT_EQ(table->memory_bytes(), table->entries() * bytes_per_entry + (table->blocks() + 1) * 4);
}

TEST_P(IndexTableShapeTest, UnitesTablesAsSetsAre) {
  const auto [rows, cols, rows_per_block, bytes_per_entry] = GetParam();
  std::mt19937 random(2);
  std::vector<int64_t> expected;
  std::vector<std::shared_ptr<const IndexTable>> tables;
  for (const int64_t count : {rows, rows / 2 + 1, int64_t{1}}) {
    const std::vector<int64_t> positions = RandomPositions(rows, cols, count, random);
    ASSERT_OK_AND_ASSIGN(tables.emplace_back(), IndexTable::Create(rows, cols, positions));
    std::vector<int64_t> merged;
    std::set_union(expected.begin(), expected.end(), positions.begin(), positions.end(),
                   std::back_inserter(merged));
    expected = merged;
  }
  ASSERT_OK_AND_ASSIGN(const auto united, IndexTable::Union(tables));
  EXPECT_EQ(FlatPositionsOf(*united), expected);
  ASSERT_OK_AND_ASSIGN(const auto created, IndexTable::Create(rows, cols, expected));
  EXPECT_EQ(united->digest(), created->digest());
}

INSTANTIATE_TEST_SUITE_P(Shapes, IndexTableShapeTest,
                         ::testing::Values(Shape{1, 1, 16, 2}, Shape{100, 576, 16, 2},
                                           Shape{33, 4096, 16, 2}, Shape{17, 4097, 8, 2},
                                           Shape{9, 11008, 4, 2}, Shape{3, 65536, 1, 2},
                                           Shape{3, 65537, 1, 4}));

TEST(IndexTableTest, TellsShapesApartThatHaveTheSamePositions) {
  ASSERT_OK_AND_ASSIGN(const auto wide, IndexTable::Create(2, 8, {1, 9}));
  ASSERT_OK_AND_ASSIGN(const auto tall, IndexTable::Create(8, 2, {1, 9}));
  EXPECT_NE(wide->digest(), tall->digest());
}

TEST(IndexTableTest, RefusesWhatIsNotAscendingOrOutside) {
  for (const std::vector<int64_t>& flat : {std::vector<int64_t>{3, 3}, {4, 3}, {-1}, {16}}) {
    EXPECT_THAT(IndexTable::Create(4, 4, flat).status(),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("index table [4, 4]")));
  }
}

TEST(IndexTableTest, RefusesRowsThatThirtyTwoBitsCannotCount) {
  EXPECT_THAT(IndexTable::Create(1, int64_t{1} << 32, {0}).status(),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("32 bits")));
}

}  // namespace
}  // namespace shira
