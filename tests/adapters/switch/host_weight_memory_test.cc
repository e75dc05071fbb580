#include "adapters/switch/host_weight_memory.h"

#include <cstring>
#include <random>

#include "tests/testutil/adapter_builder.h"
#include "tests/testutil/plain_weights.h"
#include "tests/testutil/status_matchers.h"

namespace shira {
namespace {

using ::shira::testing::PlainWeights;
using ::shira::testing::RandomPositions;
using ::shira::testing::StatusIs;
using ::testing::AllOf;
using ::testing::HasSubstr;

// Larger than what is hashed at a time, with rows that do not fill it evenly; a row that is larger by
// itself; a vector.
const std::vector<PlainWeights::Shape> kShapes = {
    {"many rows", 901, 700}, {"long rows", 3, 300'001}, {"vector", 1, 64}};

TEST(HostWeightMemoryTest, AnOverlaysHashIsThatOfTheWeightsWithItWritten) {
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    PlainWeights weights(dtype, kShapes, 1);
    HostWeightMemory& memory = weights.memory();
    const size_t size = DTypeSize(dtype);
    std::mt19937 random(2);
    for (size_t i = 0; i < kShapes.size(); ++i) {
      const auto& [name, rows, cols] = kShapes[i];
      const auto positions = RandomPositions(rows, cols, 50, random);
      ASSERT_OK_AND_ASSIGN(const auto table, IndexTable::Create(rows, cols, positions));
      const ElementBuffer values(positions.size() * size, std::byte{0x3C});
      const ElementOverlay overlay = {table.get(), values.data()};
      std::vector<std::byte> written = weights.data()[i];
      for (const int64_t position : positions) {
        std::memset(written.data() + position * size, 0x3C, size);
      }
      EXPECT_EQ(memory.Hash(i, &overlay), Sha256::Of(written)) << name;
      EXPECT_EQ(memory.Hash(i, nullptr), Sha256::Of(weights.data()[i])) << name;
    }
  }
}

TEST(HostWeightMemoryTest, GathersAndReadsWhatIsThere) {
  PlainWeights weights(DType::kBF16, kShapes, 1);
  const std::vector<std::byte>& bytes = weights.data()[0];
  const std::vector<int64_t> positions = {0, 699, 700, 630'699};
  ASSERT_OK_AND_ASSIGN(const auto table, IndexTable::Create(901, 700, positions));
  ElementBuffer gathered(positions.size() * 2);
  weights.memory().Gather(0, *table, gathered.data());
  for (size_t i = 0; i < positions.size(); ++i) {
    EXPECT_EQ(std::memcmp(gathered.data() + 2 * i, bytes.data() + 2 * positions[i], 2), 0) << i;
  }
  std::vector<std::byte> rows(2 * 700 * 2);
  weights.memory().Read(0, 899, 901, absl::MakeSpan(rows));
  EXPECT_EQ(std::memcmp(rows.data(), bytes.data() + 899 * 700 * 2, rows.size()), 0);
}

TEST(HostWeightMemoryTest, RefusesParametersThatAreNone) {
  std::byte memory[16];
  const std::vector<ResidentParameter> nowhere = {{"a", 2, 2, memory}, {"b", 2, 2, nullptr}};
  EXPECT_THAT(HostWeightMemory::Create(DType::kF32, nowhere),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("b: no memory")));
  const std::vector<ResidentParameter> wrong = {{"a", 0, 2, memory}, {"a", 2, 2, memory}};
  EXPECT_THAT(HostWeightMemory::Create(DType::kI32, wrong),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       AllOf(HasSubstr("found I32"), HasSubstr("a: empty shape [0, 2]"),
                             HasSubstr("a: occurs twice"))));
}

}  // namespace
}  // namespace shira
