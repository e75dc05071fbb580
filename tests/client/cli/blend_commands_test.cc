#include <gmock/gmock.h>

#include "tests/client/cli/cli_test_base.h"

namespace shira::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::UnorderedElementsAre;

class BlendCommandsTest : public CliTest {
 protected:
  BlendCommandsTest() {
    Load("pirate");
    Load("json");
  }
};

TEST_F(BlendCommandsTest, CreatesABlendAndPrintsHowItsPartsMet) {
  const CliResult result =
      Run({"blend", "create", "crew", "--part", "pirate:0.5", "--part", "json", "--rule",
           "dare-ties", "--density", "0.25", "--seed", "7", "--save", "crew.shira"});
  const v1::CreateBlendRequest request = server_.last_blend();
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_THAT(result.out, HasSubstr("Created crew v1: 1,000 entries in 1 parameters, sha256 "));
  EXPECT_THAT(result.out, HasSubstr("By more than one part: 300 (25.0 %)\n"
                                    "With opposite signs:   20 (1.7 %)\n"
                                    "Entries of the blend:  1,000 (83.3 %)\n"
                                    "Energy kept:           75.0 %\n"));
  EXPECT_THAT(result.out, ::testing::Not(HasSubstr("q_proj")));
  EXPECT_THAT(
      Run({"blend", "create", "crew", "--part", "pirate", "--parameters"}).out,
      HasSubstr(
          "PARAMETER                               PARTS  SHARED  CONFLICTS  BLEND  ENERGY\n"
          "model.layers.0.self_attn.q_proj.weight  1,500     300         20  1,000  75.0 %\n"
          "total                                   1,500     300         20  1,000  75.0 %\n"));
  EXPECT_EQ(request.name(), "crew");
  ASSERT_EQ(request.parts_size(), 2);
  EXPECT_EQ(request.parts(0).name(), "pirate");
  EXPECT_EQ(request.parts(0).weight(), 0.5);
  EXPECT_EQ(request.parts(1).name(), "json");
  EXPECT_FALSE(request.parts(1).has_weight());
  EXPECT_EQ(request.rule(), v1::FUSION_RULE_DARE_TIES);
  EXPECT_EQ(request.density(), 0.25);
  EXPECT_EQ(request.seed(), 7u);
  EXPECT_EQ(request.save_path(), "crew.shira");
}

TEST_F(BlendCommandsTest, SendsOnlyWhatWasGiven) {
  EXPECT_EQ(Run({"blend", "create", "crew", "--part", "pirate"}).exit_code, 0);
  EXPECT_EQ(server_.last_blend().rule(), v1::FUSION_RULE_UNSPECIFIED);
  EXPECT_FALSE(server_.last_blend().has_density());
  EXPECT_FALSE(server_.last_blend().has_seed());
  EXPECT_THAT(Run({"blend", "create", "crew", "--part", "pirate"}).out,
              HasSubstr("Already created crew v1"));
}

TEST_F(BlendCommandsTest, PrintsJson) {
  const Json json = RunJson({"blend", "create", "crew", "--part", "pirate", "--rule", "max"});
  EXPECT_THAT(Keys(json),
              UnorderedElementsAre("adapter", "already_created", "total", "parameters"));
  EXPECT_THAT(Keys(json["total"]),
              UnorderedElementsAre("part_entries", "union_entries", "shared_entries",
                                   "sign_conflicts", "blend_entries", "energy_kept"));
  EXPECT_EQ(json["adapter"]["format"], "blend");
  EXPECT_EQ(json["parameters"][0]["name"], "model.layers.0.self_attn.q_proj.weight");
  EXPECT_EQ(json["parameters"][0]["energy_kept"], 0.75);
}

TEST_F(BlendCommandsTest, RefusesWrongUsage) {
  const std::vector<std::vector<std::string>> wrong = {
      {"blend"},
      {"blend", "create", "crew"},
      {"blend", "create", "--part", "pirate"},
      {"blend", "create", "crew", "--part", "pirate:x"},
      {"blend", "create", "crew", "--part", "pirate", "--rule", "median"},
      {"blend", "create", "crew", "--part", "pirate", "--seed", "-1"}};
  for (const std::vector<std::string>& arguments : wrong) {
    EXPECT_EQ(Run(arguments).exit_code, 2) << ::testing::PrintToString(arguments);
  }
  EXPECT_EQ(Run({"blend", "create", "crew", "--part", "nobody"}).exit_code, 1);
}

}  // namespace
}  // namespace shira::testing
