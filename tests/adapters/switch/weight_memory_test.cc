// The switch engine over weights that lie in no matrix: whatever the memory, the same states have the
// same hashes, and what is written is written through the interface alone.

#include "adapters/switch/weight_memory.h"

#include <algorithm>
#include <cstring>
#include <random>
#include <utility>

#include "adapters/switch/switch_engine.h"
#include "tests/testutil/adapter_builder.h"
#include "tests/testutil/plain_weights.h"
#include "tests/testutil/status_matchers.h"

namespace shira {
namespace {

using ::shira::testing::IsOk;
using ::shira::testing::MakeAdapter;
using ::shira::testing::MakeDelta;
using ::shira::testing::PlainWeights;
using ::shira::testing::RandomPositions;

// Keeps each parameter with its last element first and every bit turned.
class TurnedMemory final : public WeightMemory {
 public:
  TurnedMemory(const PlainWeights& weights, ParameterMap map)
      : map_(std::move(map)), size_(map_.element_bytes()) {
    for (const std::vector<std::byte>& bytes : weights.data()) kept_.push_back(Turned(bytes));
  }

  const ParameterMap& parameters() const override { return map_; }
  void Gather(int64_t parameter, const IndexTable& table, std::byte* out) const override {
    const std::vector<std::byte> bytes = Turned(kept_[parameter]);
    table.ForEach([&](uint32_t entry, int64_t position) {
      std::memcpy(out + entry * size_, bytes.data() + position * size_, size_);
    });
  }
  void Read(int64_t parameter, int64_t first_row, int64_t last_row,
            absl::Span<std::byte> out) const override {
    const size_t row_bytes = map_.parameters()[parameter].cols * size_;
    const std::vector<std::byte> bytes = Turned(kept_[parameter]);
    std::memcpy(out.data(), bytes.data() + first_row * row_bytes,
                (last_row - first_row) * row_bytes);
  }
  Sha256Digest Hash(int64_t parameter, const ElementOverlay* overlay) const override {
    std::vector<std::byte> bytes = Turned(kept_[parameter]);
    if (overlay != nullptr) Write(*overlay->table, overlay->values, bytes);
    return Sha256::Of(bytes);
  }
  int64_t Transition(const CompiledState& from, const CompiledState& to) override {
    int64_t written = 0;
    const auto write = [&](const CompiledParameter& parameter, const ElementBuffer& values) {
      std::vector<std::byte> bytes = Turned(kept_[parameter.parameter]);
      written += Write(*parameter.table, values.data(), bytes);
      kept_[parameter.parameter] = Turned(bytes);
    };
    for (const CompiledParameter& parameter : from.parameters) {
      write(parameter, *parameter.originals);
    }
    for (const CompiledParameter& parameter : to.parameters) write(parameter, parameter.fused);
    return written;
  }

  std::vector<std::vector<std::byte>>& kept() { return kept_; }

 private:
  // There and back again.
  static std::vector<std::byte> Turned(std::vector<std::byte> bytes) {
    std::reverse(bytes.begin(), bytes.end());
    for (std::byte& byte : bytes) byte = ~byte;
    return bytes;
  }
  int64_t Write(const IndexTable& table, const std::byte* values,
                std::vector<std::byte>& bytes) const {
    table.ForEach([&](uint32_t entry, int64_t position) {
      std::memcpy(bytes.data() + position * size_, values + entry * size_, size_);
    });
    return table.entries();
  }

  const ParameterMap map_;
  const size_t size_;
  std::vector<std::vector<std::byte>> kept_;
};

TEST(WeightMemoryTest, StatesAreTheSameWhateverKeepsTheWeights) {
  PlainWeights plain(DType::kBF16, {{"q", 40, 24}, {"wide", 3, 70000}, {"norm", 1, 24}}, 1);
  TurnedMemory turned(plain, plain.memory().parameters());
  SwitchEngine expected(plain.memory(), {});
  SwitchEngine engine(turned, {});
  EXPECT_EQ(engine.base_digest(), expected.base_digest());

  std::vector<std::shared_ptr<const SparseAdapter>> adapters;
  for (uint32_t seed = 1; seed <= 3; ++seed) {
    std::mt19937 random(seed);
    std::vector<ParameterDelta> deltas;
    for (const auto& [name, rows, cols] :
         {plain.shapes()[2], plain.shapes()[0], plain.shapes()[1]}) {
      deltas.push_back(
          MakeDelta(name, rows, cols, RandomPositions(rows, cols, 20, random), random));
    }
    adapters.push_back(MakeAdapter(std::to_string(seed), std::move(deltas)));
  }
  const std::vector<std::vector<WeightedAdapterRef>> walk = {
      {{adapters[0], 1.0}},
      {{adapters[1], 0.5}},
      {{adapters[0], 0.3}, {adapters[2], 2.0}},
      {},
      {{adapters[2], 1.0}, {adapters[1], 1.0}, {adapters[0], 1.0}},
  };
  for (const std::vector<WeightedAdapterRef>& state : walk) {
    // Compiled while another state is resident: originals are the base's all the same.
    ASSERT_OK_AND_ASSIGN(const auto own, engine.Compile(state));
    ASSERT_OK_AND_ASSIGN(const auto other, expected.Compile(state));
    engine.Apply(own);
    expected.Apply(other);
    const VerifyReport report = engine.Verify();
    const VerifyReport expected_report = expected.Verify();
    EXPECT_TRUE(report.matches_expected);
    EXPECT_EQ(report.matches_base, state.empty());
    for (size_t i = 0; i < report.parameters.size(); ++i) {
      EXPECT_EQ(report.parameters[i].resident, expected_report.parameters[i].resident) << i;
      EXPECT_EQ(report.parameters[i].expected, expected_report.parameters[i].expected) << i;
    }
    std::vector<std::byte> rows(2 * 24 * 2);
    std::vector<std::byte> expected_rows(rows.size());
    EXPECT_THAT(engine.ReadPristine(0, 7, 9, absl::MakeSpan(rows)), IsOk());
    EXPECT_THAT(expected.ReadPristine(0, 7, 9, absl::MakeSpan(expected_rows)), IsOk());
    EXPECT_EQ(rows, expected_rows);
  }
  // Damage to an element that no state has written.
  turned.kept()[1][5] ^= std::byte{1};
  EXPECT_FALSE(engine.Verify().matches_expected);
  EXPECT_EQ(engine.Verify().parameters[1].expected, std::nullopt);
}

}  // namespace
}  // namespace shira
