#include "server/grpc/grpc_build.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

namespace shira {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

std::vector<std::string> PatchesOfTheTree() {
  std::vector<std::string> names;
  for (const fs::directory_entry& entry :
       fs::directory_iterator(fs::path(SHIRA_SOURCE_DIR) / "cmake/patches")) {
    if (entry.path().extension() == ".patch") names.push_back(entry.path().stem());
  }
  std::sort(names.begin(), names.end());
  return names;
}

TEST(GrpcBuildTest, TheLibrarySaysThatEveryPatchOfTheTreeIsInIt) {
#ifdef SHIRA_PATCHED_GRPC
  constexpr bool kPatched = true;
#else
  constexpr bool kPatched = false;
#endif
  const GrpcBuild build = LinkedGrpc();
  EXPECT_FALSE(build.version.empty());
  const std::vector<std::string> patches = PatchesOfTheTree();
  EXPECT_THAT(patches, Not(IsEmpty()));
  EXPECT_EQ(build.fixes, kPatched ? patches : std::vector<std::string>());
}

TEST(GrpcBuildTest, OneLineNamesTheFixes) {
  EXPECT_EQ(Describe({"1.51.1", {"CVE-1", "CVE-2"}}), "gRPC 1.51.1 with fixes for CVE-1, CVE-2");
  EXPECT_EQ(Describe({"1.51.1", {}}), "gRPC 1.51.1 of the system, without fixes of ours");
}

TEST(GrpcBuildTest, TheSystemsIsARiskAndSaysWhereToReadOn) {
  EXPECT_EQ(RiskOf({"1.51.1", {"CVE-1"}}), "");
  EXPECT_THAT(RiskOf({"1.51.1", {}}), HasSubstr("gRPC 1.51.1 of the system"));
  EXPECT_THAT(RiskOf({"1.51.1", {}}), HasSubstr("docs/security.md"));
}

}  // namespace
}  // namespace shira
