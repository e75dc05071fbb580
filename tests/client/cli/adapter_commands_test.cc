#include <gmock/gmock.h>

#include "tests/client/cli/cli_test_base.h"

namespace shira::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::UnorderedElementsAre;

class AdapterCommandsTest : public CliTest {};

TEST_F(AdapterCommandsTest, LoadsAnAdapter) {
  const CliResult result =
      Run({"adapter", "load", "pirate", "/adapters/pirate", "--sha256", "abc"});
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_THAT(
      result.out,
      HasSubstr("Loaded pirate v1: 610,560 entries in 210 parameters, 3.5 MiB, 120 ms, sha256 "));
  EXPECT_EQ(server_.last_load().path(), "/adapters/pirate");
  EXPECT_EQ(server_.last_load().expected_sha256(), "abc");
  EXPECT_THAT(Run({"adapter", "load", "pirate", "/adapters/pirate"}).out,
              HasSubstr("Already loaded pirate v1"));
}

TEST_F(AdapterCommandsTest, LoadsAnAdapterThatIsNamedLikeACommand) {
  EXPECT_EQ(Run({"adapter", "load", "list", "verify"}).exit_code, 0);
  EXPECT_EQ(server_.last_load().name(), "list");
  EXPECT_EQ(server_.last_load().path(), "verify");
}

TEST_F(AdapterCommandsTest, LoadPrintsJson) {
  const Json json = RunJson({"adapter", "load", "pirate", "/adapters/pirate"});
  EXPECT_THAT(Keys(json), UnorderedElementsAre("adapter", "already_loaded"));
  EXPECT_EQ(json["already_loaded"], false);
  EXPECT_THAT(Keys(json["adapter"]),
              UnorderedElementsAre("name", "version", "digest", "state", "residency", "path",
                                   "format", "entries", "parameter_count", "density",
                                   "memory_bytes", "running_requests", "base_model", "pinned",
                                   "aliases", "load_ms", "load_time"));
  EXPECT_EQ(json["adapter"]["state"], "READY");
  EXPECT_EQ(json["adapter"]["residency"], "IN_MEMORY");
  EXPECT_EQ(json["adapter"]["load_ms"], 120.0);
  EXPECT_EQ(json["adapter"]["load_time"], "2023-11-14T22:13:20+00:00");
}

TEST_F(AdapterCommandsTest, ReplacesAnAdapter) {
  EXPECT_EQ(Run({"adapter", "load", "pirate", "/adapters/pirate"}).exit_code, 0);
  EXPECT_FALSE(server_.last_load().replace());
  EXPECT_EQ(Run({"adapter", "load", "pirate", "/adapters/pirate", "--replace"}).exit_code, 0);
  EXPECT_TRUE(server_.last_load().replace());
}

TEST_F(AdapterCommandsTest, ListTakesFilters) {
  EXPECT_EQ(Run({"adapter", "list", "--prefix", "team/", "--state", "READY", "--state", "FAILED",
                 "--residency", "FUSED"})
                .exit_code,
            0);
  EXPECT_EQ(server_.last_list().name_prefix(), "team/");
  EXPECT_EQ(server_.last_list().states_size(), 2);
  EXPECT_EQ(server_.last_list().states(1), v1::ADAPTER_STATE_FAILED);
  EXPECT_EQ(server_.last_list().residencies(0), v1::ADAPTER_RESIDENCY_FUSED);
  EXPECT_EQ(Run({"adapter", "list", "--state", "BROKEN"}).exit_code, 2);
  EXPECT_EQ(Run({"adapter", "list", "--residency", "BROKEN"}).exit_code, 2);
}

TEST_F(AdapterCommandsTest, PinsAndUnpins) {
  Load("pirate");
  EXPECT_EQ(Run({"adapter", "pin", "pirate"}).out, "Pinned pirate v1\n");
  EXPECT_EQ(RunJson({"adapter", "unpin", "pirate"})["adapter"]["pinned"], false);
  EXPECT_EQ(Run({"adapter", "pin", "nobody"}).exit_code, 1);
}

TEST_F(AdapterCommandsTest, AliasesAreSetListedRolledBackAndDeleted) {
  Load("pirate");
  Load("party");
  EXPECT_EQ(Run({"alias", "set", "prod", "pirate"}).out, "prod -> pirate@1\n");
  EXPECT_EQ(Run({"alias", "set", "prod", "party"}).out, "prod -> party@1\n");
  EXPECT_EQ(Run({"alias", "list"}).out, "ALIAS  TARGET   BEFORE\nprod   party@1  pirate@1\n");
  const Json alias = {{"name", "prod"},
                      {"target", {{"name", "party"}, {"version", 1}}},
                      {"history", {{{"name", "pirate"}, {"version", 1}}}}};
  EXPECT_EQ(RunJson({"alias", "list"}), Json({{"aliases", {alias}}}));
  EXPECT_EQ(Run({"alias", "rollback", "prod"}).out, "prod -> pirate@1\n");
  EXPECT_EQ(RunJson({"alias", "delete", "prod"}), Json({{"deleted", "prod"}}));
  EXPECT_EQ(Run({"alias", "rollback", "prod"}).exit_code, 1);
}

TEST_F(AdapterCommandsTest, LoadReportsAMalformedAdapter) {
  const CliResult result = Run({"adapter", "load", "pirate", "missing"});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_EQ(result.err,
            "shira: error: INVALID_ARGUMENT: missing: no such folder [ADAPTER_UNREADABLE]\n");
}

TEST_F(AdapterCommandsTest, UnloadsAnAdapter) {
  Load("pirate");
  const CliResult result = Run({"adapter", "unload", "pirate", "--cancel", "--wait", "1.5"});
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_EQ(result.out, "Unloaded pirate\n");
  EXPECT_TRUE(server_.last_unload().cancel_running());
  EXPECT_EQ(server_.last_unload().timeout().seconds(), 1);
  EXPECT_EQ(server_.last_unload().timeout().nanos(), 500000000);
  EXPECT_EQ(Run({"adapter", "unload", "pirate"}).exit_code, 1);
}

TEST_F(AdapterCommandsTest, UnloadWaitsForTheDeadlineOfTheCallUnlessToldOtherwise) {
  Load("pirate");
  EXPECT_EQ(RunJson({"adapter", "unload", "pirate"}), Json({{"unloaded", "pirate"}}));
  EXPECT_FALSE(server_.last_unload().has_timeout());
  EXPECT_FALSE(server_.last_unload().cancel_running());
}

TEST_F(AdapterCommandsTest, ListsAdaptersInAlignedColumns) {
  Load("a");
  Load("a-longer-name");
  Load("z");
  const CliResult result = Run({"adapter", "list"});
  EXPECT_THAT(
      result.out,
      HasSubstr(
          "NAME           VERSION  STATE  RESIDENCY  ENTRIES  DENSITY   MEMORY  REQUESTS  SHA256\n"
          "a                    1  READY  IN_MEMORY  610,560   0.45 %  3.5 MiB         0  "));
  EXPECT_EQ(std::count(result.out.begin(), result.out.end(), '\n'), 4);
  EXPECT_EQ(RunJson({"adapter", "list"})["adapters"].size(), 3);
}

TEST_F(AdapterCommandsTest, ListsNothing) {
  EXPECT_EQ(RunJson({"adapter", "list"}), Json({{"adapters", Json::array()}}));
}

TEST_F(AdapterCommandsTest, ShowsOneAdapterWithItsParameters) {
  Load("pirate");
  const CliResult result = Run({"adapter", "show", "pirate"});
  EXPECT_THAT(result.out, HasSubstr("Path:             /adapters/pirate\n"));
  EXPECT_THAT(result.out,
              HasSubstr("model.layers.0.self_attn.q_proj.weight  576 x 576    2,304  0.75\n"));
  const Json json = RunJson({"adapter", "show", "pirate"});
  EXPECT_THAT(Keys(json), UnorderedElementsAre("adapter", "parameters"));
  EXPECT_THAT(Keys(json["parameters"][0]),
              UnorderedElementsAre("name", "rows", "cols", "entries", "norm"));
  EXPECT_EQ(Run({"adapter", "show", "nobody"}).exit_code, 1);
}

TEST_F(AdapterCommandsTest, AppliesAndReverts) {
  Load("pirate");
  Load("json");
  EXPECT_EQ(Run({"adapter", "apply", "pirate", "json:0.5"}).out,
            "Resident and default: pirate v1 + json v1 (weight 0.5) (610,560 elements written in "
            "2.6 ms)\n");
  EXPECT_EQ(Run({"adapter", "revert"}).out,
            "Resident and default: base (610,560 elements written in 1.5 ms)\n");
  const Json applied = RunJson({"adapter", "apply", "pirate"});
  EXPECT_THAT(Keys(applied), UnorderedElementsAre("state", "switch_ms", "written"));
  EXPECT_EQ(applied["state"]["adapters"][0]["name"], "pirate");
  EXPECT_EQ(RunJson({"adapter", "revert"}), Json({{"switch_ms", 1.5}, {"written", 610560}}));
}

TEST_F(AdapterCommandsTest, RefusesWrongUsage) {
  const std::vector<std::vector<std::string>> wrong = {
      {"adapter"},
      {"adapter", "nonsense"},
      {"adapter", "load", "pirate"},
      {"adapter", "unload", "pirate", "--wait", "-1"},
      {"adapter", "apply"},
      {"adapter", "apply", "pirate:x"},
      {"adapter", "revert", "pirate"}};
  for (const std::vector<std::string>& arguments : wrong) {
    EXPECT_EQ(Run(arguments).exit_code, 2) << ::testing::PrintToString(arguments);
  }
}

}  // namespace
}  // namespace shira::testing
