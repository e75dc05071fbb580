#include "client/cli/hint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"
#include "google/rpc/error_details.pb.h"

namespace shira::cli {
namespace {

using ::testing::HasSubstr;

std::string Hint(const absl::Status& status, const std::vector<std::string>& names = {},
                 const std::string& version = "") {
  const auto adapter_names = [&] { return names; };
  const auto server_version = [&] { return version; };
  return HintFor(status, {.adapter_names = adapter_names, .server_version = server_version});
}

absl::Status WithInfo(absl::Status status, const char* reason,
                      const std::map<std::string, std::string>& metadata) {
  google::rpc::ErrorInfo info;
  info.set_domain("shira");
  info.set_reason(reason);
  info.mutable_metadata()->insert(metadata.begin(), metadata.end());
  status.SetPayload("type.googleapis.com/google.rpc.ErrorInfo",
                    absl::Cord(info.SerializeAsString()));
  return status;
}

absl::Status NotFound(const std::map<std::string, std::string>& metadata) {
  return WithInfo(absl::NotFoundError("no adapter"), "ADAPTER_NOT_FOUND", metadata);
}

TEST(HintTest, NamesTheAdaptersThatThereAre) {
  EXPECT_THAT(Hint(NotFound({{"name", "pirat"}}), {"json", "pirate"}),
              HasSubstr("Did you mean 'pirate'? The server has: json, pirate."));
  EXPECT_THAT(Hint(NotFound({{"name", "x-files"}}), {"json", "pirate"}),
              ::testing::StartsWith("The server has: json, pirate."));
}

TEST(HintTest, LooksAtThePartOfABlendAndTheTargetOfAnAlias) {
  EXPECT_THAT(Hint(NotFound({{"name", "json"}, {"part", "pirat"}}), {"json", "pirate"}),
              HasSubstr("Did you mean 'pirate'?"));
  EXPECT_THAT(Hint(NotFound({{"name", "json"}, {"target", "pirat@2"}}), {"json", "pirate"}),
              HasSubstr("Did you mean 'pirate'?"));
}

TEST(HintTest, NamesNoMoreThanTwenty) {
  std::vector<std::string> names;
  for (int i = 100; i < 150; ++i) names.push_back(absl::StrCat("adapter-", i));
  EXPECT_THAT(Hint(NotFound({{"name", "x"}}), names), HasSubstr("adapter-119 and 30 more."));
}

TEST(HintTest, ClaimsNothingWhenTheServerDoesNotTell) {
  EXPECT_EQ(Hint(NotFound({{"name", "pirat"}})), "");
}

TEST(HintTest, SaysHowToStartOrFindAServer) {
  EXPECT_THAT(Hint(absl::UnavailableError("No shira server answers at x: check that it runs and "
                                          "the address is right")),
              HasSubstr("shira-server --model FOLDER"));
  EXPECT_EQ(Hint(absl::UnavailableError("No shira server answers at x: the server speaks TLS")),
            "");
  EXPECT_EQ(Hint(absl::UnavailableError("The server at x does not serve")), "");
}

TEST(HintTest, SaysThatTheVersionsDiffer) {
  EXPECT_THAT(Hint(absl::UnimplementedError(""), {}, "9.8.7"), HasSubstr("the server is 9.8.7"));
  EXPECT_THAT(Hint(absl::UnimplementedError("")), HasSubstr("of another version"));
}

TEST(HintTest, SaysWhereTokensComeFrom) {
  EXPECT_THAT(Hint(absl::UnauthenticatedError("")), HasSubstr("--token-file"));
}

TEST(HintTest, SaysWhoseThePathIs) {
  for (const char* reason : {"ADAPTER_PATH_NOT_FOUND", "ADAPTER_PATH_OUTSIDE_ROOTS"}) {
    EXPECT_THAT(Hint(WithInfo(absl::NotFoundError("x"), reason, {})), HasSubstr("shira upload"));
  }
  EXPECT_THAT(Hint(WithInfo(absl::UnimplementedError("x"), "UPLOADS_DISABLED", {})),
              HasSubstr("--upload-dir"));
}

TEST(HintTest, AddsNothingToWhatSaysItAll) {
  EXPECT_EQ(Hint(absl::InvalidArgumentError("x")), "");
  EXPECT_EQ(Hint(absl::DeadlineExceededError("x")), "");
}

}  // namespace
}  // namespace shira::cli
