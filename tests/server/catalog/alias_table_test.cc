#include "server/catalog/alias_table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/testutil/status_matchers.h"

namespace shira {
namespace {

using ::shira::testing::StatusIs;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(AliasTableTest, RemembersItsTargetsTheLatestFirst) {
  AliasTable table;
  table.Set("prod", {"tone", 1});
  table.Set("prod", {"tone", 2});
  table.Set("prod", {"tone", 2});  // not moved
  table.Set("prod", {"loud", 1});
  const AliasInfo& prod = *table.Find("prod");
  EXPECT_EQ(prod.target, (AdapterVersion{"loud", 1}));
  EXPECT_THAT(prod.history, ElementsAre(AdapterVersion{"tone", 2}, AdapterVersion{"tone", 1}));
  EXPECT_TRUE(table.Mentions({"tone", 1}));
  EXPECT_FALSE(table.Mentions({"loud", 2}));
  EXPECT_THAT(table.NamesOf({"loud", 1}), ElementsAre("prod"));
  EXPECT_THAT(table.NamesOf({"tone", 2}), IsEmpty());
}

TEST(AliasTableTest, RollsBackStepByStep) {
  AliasTable table;
  for (int64_t version : {1, 2, 3}) table.Set("prod", {"tone", version});
  EXPECT_EQ(table.Rollback("prod")->target, (AdapterVersion{"tone", 2}));
  EXPECT_EQ(table.Rollback("prod")->target, (AdapterVersion{"tone", 1}));
  EXPECT_THAT(table.Rollback("prod").status(), StatusIs(absl::StatusCode::kFailedPrecondition));
  EXPECT_EQ(table.Find("prod")->target, (AdapterVersion{"tone", 1}));
  EXPECT_THAT(table.Rollback("live").status(), StatusIs(absl::StatusCode::kNotFound));
}

TEST(AliasTableTest, ForgetsWhatIsGone) {
  AliasTable table;
  for (int64_t version : {1, 2, 1, 3}) table.Set("prod", {"tone", version});
  table.Forget({"tone", 1});
  EXPECT_THAT(table.Find("prod")->history, ElementsAre(AdapterVersion{"tone", 2}));
  EXPECT_TRUE(table.Delete("prod"));
  EXPECT_FALSE(table.Delete("prod"));
  EXPECT_EQ(table.Find("prod"), nullptr);
  EXPECT_THAT(table.List(), IsEmpty());
}

TEST(AliasTableTest, ItsHistoryIsBounded) {
  AliasTable table;
  for (int64_t version = 1; version <= 20; ++version) table.Set("prod", {"tone", version});
  EXPECT_EQ(table.Find("prod")->history.size(), kMaxAliasHistory);
  EXPECT_EQ(table.Find("prod")->history.back(), (AdapterVersion{"tone", 12}));
}

}  // namespace
}  // namespace shira
