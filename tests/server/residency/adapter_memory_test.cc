#include "server/residency/adapter_memory.h"

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tests/testutil/adapter_builder.h"
#include "tests/testutil/status_matchers.h"

namespace shira {
namespace {

using ::shira::testing::IsOk;
using ::shira::testing::StatusIs;

Sha256Digest DigestOf(const std::string& adapter) { return Sha256::Of(adapter); }

StateKey KeyOf(const std::vector<std::string>& adapters) {
  std::vector<StateTerm> terms;
  for (const std::string& adapter : adapters) terms.push_back({DigestOf(adapter), 1.0});
  return *StateKey::Create(std::move(terms));
}

// Adapters and states over one table: 3 values of 4 bytes, 6 bytes of originals and of fused
// values each.
class AdapterMemoryTest : public ::testing::Test {
 protected:
  static constexpr int64_t kValues = 12;
  static constexpr int64_t kElements = 6;

  std::shared_ptr<const CompiledState> MakeState(const std::vector<std::string>& adapters) {
    auto state = std::make_shared<CompiledState>();
    state->key = KeyOf(adapters);
    // The same table in two parameters, as in the layers of a model.
    for (const auto& originals : originals_) {
      CompiledParameter& parameter = state->parameters.emplace_back();
      parameter.table = table_;
      parameter.originals = originals;
      parameter.fused.resize(kElements);
    }
    return state;
  }

  std::shared_ptr<const SparseAdapter> MakeDeltas(const std::string& adapter) {
    return testing::MakeAdapter(adapter, {{"k", table_, {1, 2, 3}}, {"q", table_, {1, 2, 3}}});
  }

  // Keeps a state of these adapters as the supplier does.
  std::shared_ptr<const CompiledState> KeepState(const std::vector<std::string>& adapters) {
    auto reservation = memory_->Reserve(100);
    EXPECT_THAT(reservation, IsOk());
    return memory_->KeepState(MakeState(adapters), *std::move(reservation));
  }

  bool HasState(const std::string& adapter) {
    return memory_->KeptOf(DigestOf(adapter), KeyOf({adapter})).state;
  }
  bool HasDeltas(const std::string& adapter) {
    return memory_->KeptOf(DigestOf(adapter), KeyOf({adapter})).deltas;
  }

  void Restart(int64_t bytes) { memory_ = std::make_unique<AdapterMemory>(bytes); }

  std::shared_ptr<const IndexTable> table_ = *IndexTable::Create(4, 4, {1, 5, 9});
  std::vector<std::shared_ptr<const ElementBuffer>> originals_ = {
      std::make_shared<const ElementBuffer>(kElements),
      std::make_shared<const ElementBuffer>(kElements)};
  const int64_t table_bytes_ = table_->memory_bytes();
  const int64_t shared_bytes_ = table_bytes_ + 2 * kElements;
  std::unique_ptr<AdapterMemory> memory_ = std::make_unique<AdapterMemory>(1 << 20);
};

TEST_F(AdapterMemoryTest, CountsSharedPartsOnceUntilTheLastHolderLetsGo) {
  auto a = KeepState({"a"});
  EXPECT_EQ(memory_->in_use_bytes(), shared_bytes_ + 2 * kElements);
  auto b = KeepState({"b"});
  EXPECT_EQ(memory_->in_use_bytes(), shared_bytes_ + 4 * kElements);
  auto deltas = memory_->KeepDeltas(MakeDeltas("a"));
  EXPECT_EQ(memory_->in_use_bytes(), shared_bytes_ + 4 * kElements + 2 * kValues);

  memory_->Drop(DigestOf("a"));
  EXPECT_EQ(memory_->in_use_bytes(), shared_bytes_ + 4 * kElements + 2 * kValues);
  a.reset();
  EXPECT_EQ(memory_->in_use_bytes(), shared_bytes_ + 2 * kElements + 2 * kValues);
  memory_->Drop(DigestOf("b"));
  b.reset();
  EXPECT_EQ(memory_->in_use_bytes(), table_bytes_ + 2 * kValues);
  deltas.reset();
  EXPECT_EQ(memory_->in_use_bytes(), 0);
}

TEST_F(AdapterMemoryTest, ReportsAnAdapterWithItsSharedPartsInFull) {
  KeepState({"a"});
  KeepState({"b"});
  EXPECT_EQ(memory_->KeptOf(DigestOf("a"), KeyOf({"a"})).bytes, shared_bytes_ + 2 * kElements);
  memory_->KeepDeltas(MakeDeltas("a"));
  EXPECT_EQ(memory_->KeptOf(DigestOf("a"), KeyOf({"a"})).bytes,
            shared_bytes_ + 2 * kElements + 2 * kValues);
  memory_->KeepDeltas(MakeDeltas("c"));
  EXPECT_EQ(memory_->KeptOf(DigestOf("c"), KeyOf({"c"})).bytes, table_bytes_ + 2 * kValues);
}

TEST_F(AdapterMemoryTest, DeltasGoBeforeStatesAndTheLeastRecentlyUsedFirst) {
  Restart(1000);
  KeepState({"a"});
  KeepState({"b"});
  memory_->KeepDeltas(MakeDeltas("a"));
  memory_->KeepDeltas(MakeDeltas("b"));
  memory_->FindDeltas(DigestOf("a"));
  std::vector<MemoryBudget::Reservation> taken;
  const auto take_one_byte_more_than_free = [&] {
    auto reservation = memory_->Reserve(1001 - memory_->in_use_bytes());
    EXPECT_THAT(reservation, IsOk());
    taken.push_back(*std::move(reservation));
  };
  take_one_byte_more_than_free();
  EXPECT_TRUE(HasDeltas("a"));
  EXPECT_FALSE(HasDeltas("b"));
  take_one_byte_more_than_free();
  EXPECT_FALSE(HasDeltas("a"));
  EXPECT_TRUE(HasState("a"));
  take_one_byte_more_than_free();
  EXPECT_FALSE(HasState("a"));
  EXPECT_TRUE(HasState("b"));
}

TEST_F(AdapterMemoryTest, WhatSomebodyHoldsStays) {
  Restart(1000);
  const auto state = KeepState({"a"});
  const auto deltas = memory_->KeepDeltas(MakeDeltas("a"));
  EXPECT_THAT(memory_->Reserve(1001 - memory_->in_use_bytes()),
              StatusIs(absl::StatusCode::kResourceExhausted));
  EXPECT_TRUE(HasState("a"));
  EXPECT_TRUE(HasDeltas("a"));
}

TEST_F(AdapterMemoryTest, AHopelessDemandEvictsNothing) {
  Restart(1000);
  KeepState({"a"});
  memory_->KeepDeltas(MakeDeltas("a"));
  EXPECT_THAT(memory_->Reserve(1001), StatusIs(absl::StatusCode::kResourceExhausted));
  EXPECT_TRUE(HasState("a"));
  EXPECT_TRUE(HasDeltas("a"));
}

TEST_F(AdapterMemoryTest, DeltasPushOutOtherDeltasButNoState) {
  Restart(1000);
  KeepState({"a"});
  memory_->KeepDeltas(MakeDeltas("a"));
  auto filler = memory_->Reserve(1000 - memory_->in_use_bytes());
  const auto b = memory_->KeepDeltas(MakeDeltas("b"));
  EXPECT_TRUE(HasDeltas("b"));
  EXPECT_FALSE(HasDeltas("a"));
  EXPECT_TRUE(HasState("a"));
  // b is held now, so there is no room: c can be used, but is not kept.
  EXPECT_EQ(memory_->KeepDeltas(MakeDeltas("c"))->digest, DigestOf("c"));
  EXPECT_FALSE(HasDeltas("c"));
  EXPECT_EQ(memory_->in_use_bytes(), 1000);
}

TEST_F(AdapterMemoryTest, HeldDeltasCountAndAreNeverEvicted) {
  Restart(200);
  ASSERT_OK_AND_ASSIGN(auto held, memory_->HoldDeltas(MakeDeltas("a")));
  EXPECT_EQ(memory_->in_use_bytes(), table_bytes_ + 2 * kValues);
  EXPECT_THAT(memory_->Reserve(200), StatusIs(absl::StatusCode::kResourceExhausted));
  held.reset();
  EXPECT_THAT(memory_->Reserve(200), IsOk());
}

TEST_F(AdapterMemoryTest, DropsEveryStateOfAnAdapterAndKeepsTheOthers) {
  KeepState({"a"});
  KeepState({"a", "b"});
  KeepState({"b"});
  memory_->Drop(DigestOf("a"));
  EXPECT_EQ(memory_->FindState(KeyOf({"a"})), nullptr);
  EXPECT_EQ(memory_->FindState(KeyOf({"a", "b"})), nullptr);
  EXPECT_NE(memory_->FindState(KeyOf({"b"})), nullptr);
}

}  // namespace
}  // namespace shira
