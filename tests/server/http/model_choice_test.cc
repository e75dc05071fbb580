#include "server/http/model_choice.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "tests/testutil/status_matchers.h"

namespace shira {
namespace {

using ::shira::testing::IsOk;
using ::shira::testing::StatusIs;
using ::testing::HasSubstr;

using Terms = std::vector<AdapterSelectionTerm>;

TEST(ModelChoiceTest, NamesVersionsAndWeightedListsAreTold) {
  const struct {
    const char* model;
    Terms terms;
  } cases[] = {
      {"org/llama", {}},
      {"pirate", {{"pirate", 1.0}}},
      {"pirate@2", {{"pirate@2", 1.0}}},
      {"base", {{"base", 1.0}}},
      {"pirate:0.5+party:0.25", {{"pirate", 0.5}, {"party", 0.25}}},
      {"pirate@2:-1+party", {{"pirate@2", -1.0}, {"party", 1.0}}},
      {"a:1e-3", {{"a", 0.001}}},
      // What is wrong with these is told by the check of every selection.
      {"", {{"", 1.0}}},
      {"a+", {{"a", 1.0}, {"", 1.0}}},
      {"a:nan", {{"a", NAN}}},
  };
  for (const auto& [model, terms] : cases) {
    FieldProblems problems;
    const Terms parsed = ParseModelChoice(model, "org/llama", problems);
    EXPECT_THAT(problems.ToStatus(), IsOk()) << model;
    ASSERT_EQ(parsed.size(), terms.size()) << model;
    for (size_t i = 0; i < terms.size(); ++i) {
      EXPECT_EQ(parsed[i].name, terms[i].name) << model;
      EXPECT_TRUE(parsed[i].weight == terms[i].weight || std::isnan(terms[i].weight)) << model;
    }
  }
}

TEST(ModelChoiceTest, AWeightThatIsNoNumberIsRefused) {
  for (const char* model : {"a:", "a:x", "a:0.5:0.5", "a:1+b:half"}) {
    FieldProblems problems;
    ParseModelChoice(model, "org/llama", problems);
    EXPECT_THAT(problems.ToStatus(),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("model: expected NAME")))
        << model;
  }
}

TEST(ModelChoiceTest, TheBasesNameMeansTheBaseWhateverIsInIt) {
  FieldProblems problems;
  EXPECT_TRUE(ParseModelChoice("base:v2+x", "base:v2+x", problems).empty());
  EXPECT_THAT(problems.ToStatus(), IsOk());
}

}  // namespace
}  // namespace shira
