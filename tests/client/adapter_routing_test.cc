#include "client/adapter_routing.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace shira {
namespace {

std::string KeyOf(const std::vector<std::string>& names) {
  v1::GenerateRequest request;
  double weight = 0.25;
  for (const std::string& name : names) {
    v1::WeightedAdapter* term = request.mutable_adapter()->add_adapters();
    term->set_name(name);
    term->set_weight(weight);
    weight *= 2;
  }
  return AdapterRoutingKey(request);
}

TEST(AdapterRoutingTest, TheKeyIsTheAdaptersName) {
  EXPECT_EQ(KeyOf({"tone@3"}), "tone@3");
  EXPECT_EQ(KeyOf({"base"}), "base");
}

TEST(AdapterRoutingTest, ABlendHasOneKeyInAnyOrderAndWithAnyWeights) {
  EXPECT_EQ(KeyOf({"terse", "pirate"}), "pirate+terse");
  EXPECT_EQ(KeyOf({"pirate", "terse"}), "pirate+terse");
}

TEST(AdapterRoutingTest, NothingIsSentForARequestThatNamesNone) {
  EXPECT_EQ(KeyOf({}), "");
  EXPECT_EQ(AdapterRoutingKey({}), "");
}

TEST(AdapterRoutingTest, NothingIsSentThatMetadataCannotCarry) {
  EXPECT_EQ(KeyOf({"Gr\u00fc\u00dfe"}), "");
  EXPECT_EQ(KeyOf({"a\nb"}), "");
  EXPECT_EQ(KeyOf({"a b"}), "");
}

}  // namespace
}  // namespace shira
