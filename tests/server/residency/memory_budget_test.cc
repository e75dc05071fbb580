#include "server/residency/memory_budget.h"

#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tests/testutil/status_matchers.h"

namespace shira {
namespace {

using ::shira::testing::IsOk;
using ::shira::testing::StatusIs;
using ::testing::AllOf;
using ::testing::HasSubstr;

TEST(MemoryBudgetTest, GrantsUpToTheLimitAndNotAByteMore) {
  const auto budget = MemoryBudget::Create(100);
  ASSERT_OK_AND_ASSIGN(const auto first, budget->Reserve(60));
  ASSERT_OK_AND_ASSIGN(const auto second, budget->Reserve(40));
  EXPECT_EQ(budget->in_use_bytes(), 100);
  EXPECT_THAT(budget->Reserve(0), IsOk());
  EXPECT_THAT(budget->Reserve(1), StatusIs(absl::StatusCode::kResourceExhausted));
}

TEST(MemoryBudgetTest, SaysWhatIsNeededInUseAndAllowed) {
  const auto budget = MemoryBudget::Create(1000);
  ASSERT_OK_AND_ASSIGN(const auto first, budget->Reserve(700));
  EXPECT_THAT(budget->Reserve(301),
              StatusIs(absl::StatusCode::kResourceExhausted,
                       AllOf(HasSubstr("301"), HasSubstr("700"), HasSubstr("1000"))));
}

TEST(MemoryBudgetTest, AHugeDemandDoesNotOverflow) {
  const auto budget = MemoryBudget::Create(100);
  ASSERT_OK_AND_ASSIGN(const auto first, budget->Reserve(50));
  EXPECT_THAT(budget->Reserve(INT64_MAX), StatusIs(absl::StatusCode::kResourceExhausted));
}

TEST(MemoryBudgetTest, ReservationsGiveBackOnceWhereverTheyWereMoved) {
  const auto budget = MemoryBudget::Create(100);
  {
    ASSERT_OK_AND_ASSIGN(MemoryBudget::Reservation first, budget->Reserve(60));
    MemoryBudget::Reservation second = std::move(first);
    EXPECT_EQ(second.bytes(), 60);
    EXPECT_EQ(budget->in_use_bytes(), 60);
    second = MemoryBudget::Reservation();
    EXPECT_EQ(budget->in_use_bytes(), 0);
  }
  EXPECT_EQ(budget->in_use_bytes(), 0);
}

TEST(MemoryBudgetTest, ResizingCountsMemoryThatExistsEvenAboveTheLimit) {
  const auto budget = MemoryBudget::Create(100);
  ASSERT_OK_AND_ASSIGN(MemoryBudget::Reservation reservation, budget->Reserve(60));
  reservation.Resize(10);
  EXPECT_EQ(budget->in_use_bytes(), 10);
  reservation.Resize(150);
  EXPECT_EQ(budget->in_use_bytes(), 150);
  EXPECT_THAT(budget->Reserve(1), StatusIs(absl::StatusCode::kResourceExhausted));
  reservation.Resize(0);
  EXPECT_EQ(budget->in_use_bytes(), 0);
}

TEST(MemoryBudgetTest, AnObjectHoldsItsBytesUntilItsLastUserLetsGo) {
  const auto budget = MemoryBudget::Create(100);
  ASSERT_OK_AND_ASSIGN(MemoryBudget::Reservation reservation, budget->Reserve(60));
  std::shared_ptr<const std::string> text =
      WithReservation(std::make_shared<const std::string>("tables"), std::move(reservation));
  std::shared_ptr<const std::string> other = text;
  text.reset();
  EXPECT_EQ(*other, "tables");
  EXPECT_EQ(budget->in_use_bytes(), 60);
  other.reset();
  EXPECT_EQ(budget->in_use_bytes(), 0);
}

TEST(MemoryBudgetTest, ReservationsOutliveTheirOwner) {
  auto budget = MemoryBudget::Create(100);
  ASSERT_OK_AND_ASSIGN(MemoryBudget::Reservation reservation, budget->Reserve(60));
  budget.reset();
  reservation.Resize(10);
}

TEST(MemoryBudgetTest, ThreadsNeverExceedItTogether) {
  const auto budget = MemoryBudget::Create(3);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 1000; ++i) {
        const auto reservation = budget->Reserve(1);
        EXPECT_LE(budget->in_use_bytes(), 3);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(budget->in_use_bytes(), 0);
}

}  // namespace
}  // namespace shira
