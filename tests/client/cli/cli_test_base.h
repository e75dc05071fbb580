// File: tests/client/cli/cli_test_base.h
//
// A fixture with a fake server, and short ways to run the CLI against it.

#ifndef SHIRA_TESTS_CLIENT_CLI_CLI_TEST_BASE_H_
#define SHIRA_TESTS_CLIENT_CLI_CLI_TEST_BASE_H_

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/client/cli/cli_process.h"
#include "tests/testutil/fake_server.h"

namespace shira::testing {

using Json = nlohmann::json;

// Takes the output apart as exactly one JSON value on one line; a discarded value, and a failed
// test, if it is something else.
inline Json ParseOnly(const CliResult& result) {
  const Json json = Json::parse(result.out, nullptr, /*allow_exceptions=*/false);
  EXPECT_FALSE(json.is_discarded()) << result.out << result.err;
  EXPECT_EQ(result.out.find('\n'), result.out.size() - 1) << result.out;
  return json;
}

inline std::vector<std::string> Keys(const Json& json) {
  std::vector<std::string> keys;
  for (const auto& item : json.items()) keys.push_back(item.key());
  return keys;
}

class CliTest : public ::testing::Test {
 protected:
  std::vector<std::string> WithServer(std::vector<std::string> arguments) const {
    arguments.push_back("--server");
    arguments.push_back(server_.address());
    return arguments;
  }

  CliResult Run(const std::vector<std::string>& arguments, const std::string& input = "") const {
    return RunCli(WithServer(arguments), input);
  }

  // Runs with --json, and expects success.
  Json RunJson(std::vector<std::string> arguments, const std::string& input = "") const {
    arguments.push_back("--json");
    const CliResult result = Run(arguments, input);
    EXPECT_EQ(result.exit_code, 0) << result.out << result.err;
    EXPECT_EQ(result.err, "");
    return ParseOnly(result);
  }

  void Load(const std::string& name) {
    const CliResult result = Run({"adapter", "load", name, "/adapters/" + name});
    ASSERT_EQ(result.exit_code, 0) << result.err;
  }

  FakeServer server_;
};

}  // namespace shira::testing

#endif  // SHIRA_TESTS_CLIENT_CLI_CLI_TEST_BASE_H_
