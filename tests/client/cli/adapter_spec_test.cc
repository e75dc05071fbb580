#include "client/cli/adapter_spec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/testutil/status_matchers.h"

namespace shira::cli {
namespace {

using ::shira::testing::StatusIs;
using ::testing::HasSubstr;

TEST(AdapterSpecTest, IsANameWithoutWeight) {
  for (const char* name : {"pirate", "team/json.v2", "a_b-c", "v2"}) {
    ASSERT_OK_AND_ASSIGN(const v1::WeightedAdapter adapter, ParseAdapterSpec(name));
    EXPECT_EQ(adapter.name(), name);
    EXPECT_FALSE(adapter.has_weight());
  }
}

TEST(AdapterSpecTest, IsANameWithAWeight) {
  const std::pair<const char*, double> kCases[] = {
      {"a:0.5", 0.5}, {"a:1", 1}, {"a:0", 0}, {"a:-0.25", -0.25}, {"a:1e-3", 1e-3}};
  for (const auto& [text, weight] : kCases) {
    ASSERT_OK_AND_ASSIGN(const v1::WeightedAdapter adapter, ParseAdapterSpec(text));
    EXPECT_EQ(adapter.name(), "a");
    EXPECT_TRUE(adapter.has_weight());
    EXPECT_EQ(adapter.weight(), weight) << text;
  }
}

TEST(AdapterSpecTest, LooksForTheWeightAfterTheLastColon) {
  ASSERT_OK_AND_ASSIGN(const v1::WeightedAdapter adapter, ParseAdapterSpec("a:b:2"));
  EXPECT_EQ(adapter.name(), "a:b");
  EXPECT_EQ(adapter.weight(), 2);
}

TEST(AdapterSpecTest, RefusesAWeightThatIsNoFiniteNumber) {
  for (const char* text : {"a:", "a:b", "a:nan", "a:inf", "a:1.5x", "a:1e999"}) {
    EXPECT_THAT(ParseAdapterSpec(text),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(text)))
        << text;
  }
}

TEST(AdapterSpecTest, RefusesAnEmptyName) {
  EXPECT_THAT(ParseAdapterSpec(""),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("names no adapter")));
  EXPECT_THAT(ParseAdapterSpec(":1"),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("names no adapter")));
}

TEST(AdapterSpecTest, ListsAreTheirPartsOrTheFirstError) {
  ASSERT_OK_AND_ASSIGN(const std::vector<v1::WeightedAdapter> adapters,
                       ParseAdapterSpecs({"a", "b:2"}));
  ASSERT_EQ(adapters.size(), 2);
  EXPECT_EQ(adapters[1].name(), "b");
  EXPECT_THAT(ParseAdapterSpecs({"a", "b:x"}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("b:x")));
}

}  // namespace
}  // namespace shira::cli
