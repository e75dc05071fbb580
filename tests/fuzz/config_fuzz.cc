// A config file: what is accepted is a valid set of options, and printed it means the same again.

#include "absl/strings/match.h"
#include "server/server_flags.h"
#include "tests/fuzz/fuzz_folder.h"
#include "tests/fuzz/fuzz_target.h"

using ::shira::testing::Promise;

namespace {

absl::StatusOr<shira::CommandLine> Read(const std::string& path, const char* flag) {
  const char* const argv[] = {"shira-server", "--config", path.c_str(), flag};
  return shira::ParseCommandLine(flag == nullptr ? 3 : 4, argv);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const shira::testing::FuzzFolder folder;
  const std::string path = folder.path() + "/config.toml";
  folder.Write("config.toml", shira::testing::AsText(data, size));
  const absl::StatusOr<shira::CommandLine> read = Read(path, nullptr);
  if (!read.ok()) {
    Promise(absl::IsInvalidArgument(read.status()), "a bad config is INVALID_ARGUMENT");
    Promise(!read.status().message().empty(), "an error says what is wrong");
    return 0;
  }
  if (read->action != shira::CommandLine::Action::kServe) return 0;
  Promise(shira::ValidateValues(read->options).ok(), "accepted options are valid");

  const absl::StatusOr<shira::CommandLine> printed = Read(path, "--print-config");
  if (!printed.ok()) {
    Promise(absl::StrContains(printed.status().message(), "cannot be written as a config file"),
            "what is accepted can be printed, or else that is said");
    return 0;
  }
  folder.Write("config.toml", printed->text);
  const absl::StatusOr<shira::CommandLine> again = Read(path, "--print-config");
  Promise(again.ok(), "what is printed can be read");
  Promise(again->text == printed->text, "what is printed means the same again");
  return 0;
}
