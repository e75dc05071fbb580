#include "server/lifecycle/path_confinement.h"

#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "tests/testutil/status_matchers.h"
#include "tests/testutil/temp_folder.h"

namespace shira {
namespace {

namespace fs = std::filesystem;
using ::shira::testing::IsOk;
using ::shira::testing::IsOkAndHolds;
using ::shira::testing::StatusIs;
using ::shira::testing::TempFolder;
using ::testing::HasSubstr;

// root/ with adapters, and outside/ beside it.
class PathConfinementTest : public ::testing::Test {
 protected:
  PathConfinementTest() {
    MakeAdapter(root() / "tone");
    MakeAdapter(root() / "team" / "terse");
    MakeAdapter(outside() / "secret");
  }

  static void MakeAdapter(const fs::path& folder) {
    fs::create_directories(folder);
    std::ofstream(folder / "adapter_config.json") << "{}";
    std::ofstream(folder / "adapter_model.safetensors") << "x";
  }

  fs::path top() const { return temp_.path(); }
  fs::path root() const { return top() / "root"; }
  fs::path outside() const { return top() / "outside"; }

  absl::StatusOr<std::string> Resolve(const std::string& path) const {
    SHIRA_ASSIGN_OR_RETURN(const PathConfinement paths, PathConfinement::Create({root()}));
    return paths.Resolve(path);
  }

  TempFolder temp_;
};

TEST_F(PathConfinementTest, ResolvesRelativeAndAbsolutePathsInside) {
  const std::string tone = root() / "tone";
  EXPECT_THAT(Resolve("tone"), IsOkAndHolds(tone));
  EXPECT_THAT(Resolve(tone), IsOkAndHolds(tone));
  EXPECT_THAT(Resolve("tone/"), IsOkAndHolds(tone));
  EXPECT_THAT(Resolve("team/../tone/."), IsOkAndHolds(tone));
  EXPECT_THAT(Resolve("team/terse"), IsOkAndHolds(std::string(root() / "team" / "terse")));
  EXPECT_THAT(Resolve("../root/tone"), IsOkAndHolds(tone));
}

TEST_F(PathConfinementTest, RefusesPathsThatLeadOutWhetherOrNotTheyExist) {
  for (const std::string path :
       {"../outside/secret", "../outside/nothing", "tone/../../outside/secret", "..", "/",
        "/etc/passwd", "/no/such/path"}) {
    EXPECT_THAT(Resolve(path), StatusIs(absl::StatusCode::kPermissionDenied)) << path;
  }
  EXPECT_THAT(Resolve(outside() / "secret"), StatusIs(absl::StatusCode::kPermissionDenied));
}

TEST_F(PathConfinementTest, AFolderWhoseNameBeginsLikeTheRootIsOutside) {
  MakeAdapter(top() / "root2" / "tone");
  EXPECT_THAT(Resolve(top() / "root2" / "tone"), StatusIs(absl::StatusCode::kPermissionDenied));
}

TEST_F(PathConfinementTest, ReportsWhatIsMissingInside) {
  EXPECT_THAT(Resolve("nothing"), StatusIs(absl::StatusCode::kNotFound, HasSubstr("nothing")));
  EXPECT_THAT(Resolve(root() / "nothing"), StatusIs(absl::StatusCode::kNotFound));
  // As realpath() has it, although the text alone would lead to an adapter.
  EXPECT_THAT(Resolve("nothing/../tone"), StatusIs(absl::StatusCode::kNotFound));
}

TEST_F(PathConfinementTest, RefusesLinksThatLeadOut) {
  fs::create_directory_symlink(outside() / "secret", root() / "link");
  fs::create_directory_symlink(outside(), root() / "up");
  fs::create_directory_symlink(root() / "link", root() / "link_to_link");
  EXPECT_THAT(Resolve("link"), StatusIs(absl::StatusCode::kPermissionDenied));
  EXPECT_THAT(Resolve("up/secret"), StatusIs(absl::StatusCode::kPermissionDenied));
  EXPECT_THAT(Resolve("up/nothing"), StatusIs(absl::StatusCode::kPermissionDenied));
  EXPECT_THAT(Resolve("link_to_link"), StatusIs(absl::StatusCode::kPermissionDenied));
  EXPECT_THAT(Resolve(root() / "link"), StatusIs(absl::StatusCode::kPermissionDenied));
}

TEST_F(PathConfinementTest, AMissingStepBeforeALinkOutDoesNotHideIt) {
  fs::create_directory_symlink(outside() / "secret", root() / "link");
  EXPECT_FALSE(Resolve("nothing/../link").ok());
}

TEST_F(PathConfinementTest, RefusesAFileInsideTheFolderThatLinksOut) {
  fs::remove(root() / "tone" / "adapter_model.safetensors");
  fs::create_symlink("/etc/passwd", root() / "tone" / "adapter_model.safetensors");
  EXPECT_THAT(Resolve("tone"),
              StatusIs(absl::StatusCode::kPermissionDenied, HasSubstr("adapter_model")));
}

TEST_F(PathConfinementTest, RefusesADanglingLinkInTheFolder) {
  fs::create_symlink(outside() / "later", root() / "tone" / "README.md");
  EXPECT_THAT(Resolve("tone"), StatusIs(absl::StatusCode::kPermissionDenied));
}

TEST_F(PathConfinementTest, AcceptsLinksThatStayInside) {
  fs::create_directory_symlink(root() / "tone", root() / "latest");
  fs::create_directories(root() / "snapshot");
  fs::create_symlink("../tone/adapter_config.json", root() / "snapshot" / "adapter_config.json");
  EXPECT_THAT(Resolve("latest"), IsOkAndHolds(std::string(root() / "tone")));
  EXPECT_THAT(Resolve("snapshot"), IsOk());
}

TEST_F(PathConfinementTest, RootsMayThemselvesBeLinks) {
  fs::create_directory_symlink(root(), top() / "alias");
  ASSERT_OK_AND_ASSIGN(const PathConfinement paths, PathConfinement::Create({top() / "alias"}));
  EXPECT_THAT(paths.roots(), ::testing::ElementsAre(root()));
  EXPECT_THAT(paths.Resolve(top() / "alias" / "tone"), IsOkAndHolds(std::string(root() / "tone")));
}

TEST_F(PathConfinementTest, SearchesTheRootsInOrderAndLetsThemLinkToEachOther) {
  MakeAdapter(top() / "second" / "tone");
  MakeAdapter(top() / "second" / "other");
  fs::create_directory_symlink(top() / "second" / "other", root() / "shared");
  ASSERT_OK_AND_ASSIGN(const PathConfinement paths,
                       PathConfinement::Create({root(), top() / "second"}));
  EXPECT_THAT(paths.Resolve("tone"), IsOkAndHolds(std::string(root() / "tone")));
  EXPECT_THAT(paths.Resolve("other"), IsOkAndHolds(std::string(top() / "second" / "other")));
  EXPECT_THAT(paths.Resolve("shared"), IsOk());
  EXPECT_THAT(paths.Resolve("nothing"), StatusIs(absl::StatusCode::kNotFound));
}

TEST_F(PathConfinementTest, DoesNotOpenAPipe) {
  ASSERT_EQ(mkfifo((root() / "pipe").c_str(), 0600), 0);
  ASSERT_EQ(mkfifo((root() / "tone" / "pipe").c_str(), 0600), 0);
  EXPECT_THAT(Resolve("pipe"),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("neither a folder nor")));
  EXPECT_THAT(Resolve("tone"), IsOk());
}

TEST_F(PathConfinementTest, ResolvesASingleFileInside) {
  const std::string file = root() / "tone" / "adapter_model.safetensors";
  EXPECT_THAT(Resolve("tone/adapter_model.safetensors"), IsOkAndHolds(file));
  EXPECT_THAT(Resolve(file), IsOkAndHolds(file));
  // The file itself is reached, not the link, so that it can't be exchanged later.
  fs::create_symlink("tone/adapter_model.safetensors", root() / "tone.safetensors");
  EXPECT_THAT(Resolve("tone.safetensors"), IsOkAndHolds(file));
}

TEST_F(PathConfinementTest, RefusesASingleFileThatLinksOut) {
  fs::create_symlink(outside() / "secret" / "adapter_model.safetensors",
                     root() / "secret.safetensors");
  fs::create_symlink(outside() / "nothing.shira", root() / "later.shira");
  EXPECT_THAT(Resolve("secret.safetensors"), StatusIs(absl::StatusCode::kPermissionDenied));
  EXPECT_FALSE(Resolve("later.shira").ok());
  EXPECT_THAT(Resolve("../outside/secret/adapter_model.safetensors"),
              StatusIs(absl::StatusCode::kPermissionDenied));
}

TEST_F(PathConfinementTest, ARootThatIsAFileAllowsNothingElse) {
  const std::string file = outside() / "secret" / "adapter_model.safetensors";
  ASSERT_OK_AND_ASSIGN(const PathConfinement paths, PathConfinement::Create({file, root()}));
  EXPECT_THAT(paths.Resolve(file), IsOkAndHolds(file));
  EXPECT_THAT(paths.Resolve("tone"), IsOkAndHolds(std::string(root() / "tone")));
  for (const std::string& path : {file + "/x", file + "x", file + "/../adapter_config.json",
                                  std::string(outside() / "secret")}) {
    EXPECT_FALSE(paths.Resolve(path).ok()) << path;
  }
}

TEST_F(PathConfinementTest, RefusesMalformedPaths) {
  EXPECT_THAT(Resolve(""), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(Resolve(std::string("tone\0/../..", 11)),
              StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_FALSE(Resolve(std::string(100'000, 'a')).ok());
}

TEST_F(PathConfinementTest, WithoutRootsNothingIsAllowed) {
  ASSERT_OK_AND_ASSIGN(const PathConfinement paths, PathConfinement::Create({}));
  EXPECT_THAT(paths.Resolve("tone"), StatusIs(absl::StatusCode::kPermissionDenied));
  EXPECT_THAT(paths.Resolve(root() / "tone"), StatusIs(absl::StatusCode::kPermissionDenied));
}

TEST_F(PathConfinementTest, RefusesRootsThatAreNeitherFoldersNorFiles) {
  EXPECT_THAT(PathConfinement::Create({top() / "nothing"}).status(),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("nothing")));
  ASSERT_EQ(mkfifo((top() / "pipe").c_str(), 0600), 0);
  EXPECT_THAT(PathConfinement::Create({top() / "pipe"}).status(),
              StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST_F(PathConfinementTest, SomethingNewIsMadeInAFolderInside) {
  const PathConfinement paths = *PathConfinement::Create({root()});
  const std::string made = root() / "team" / "new";
  EXPECT_THAT(paths.ResolveNew("team/new"), IsOkAndHolds(made));
  EXPECT_THAT(paths.ResolveNew("team/new//"), IsOkAndHolds(made));
  EXPECT_THAT(paths.ResolveNew(made), IsOkAndHolds(made));
  EXPECT_THAT(paths.ResolveNew("new"), IsOkAndHolds(std::string(root() / "new")));
  // A link beside it that leads out is of no concern.
  fs::create_directory_symlink(outside(), root() / "team" / "link");
  EXPECT_THAT(paths.ResolveNew("team/new"), IsOkAndHolds(made));
}

TEST_F(PathConfinementTest, NothingNewIsMadeOutsideOrOverSomething) {
  const PathConfinement paths = *PathConfinement::Create({root()});
  fs::create_directory_symlink(outside(), root() / "link");
  fs::create_symlink(top() / "nowhere", root() / "dangling");
  EXPECT_THAT(paths.ResolveNew("link/new"), StatusIs(absl::StatusCode::kPermissionDenied));
  EXPECT_THAT(paths.ResolveNew("../new"), StatusIs(absl::StatusCode::kPermissionDenied));
  EXPECT_THAT(paths.ResolveNew("/new"), StatusIs(absl::StatusCode::kPermissionDenied));
  EXPECT_THAT(paths.ResolveNew("absent/new"), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(paths.ResolveNew("tone"), StatusIs(absl::StatusCode::kAlreadyExists));
  EXPECT_THAT(paths.ResolveNew("dangling"), StatusIs(absl::StatusCode::kAlreadyExists));
  for (const std::string path : {"", "/", ".", "team/..", "team/."}) {
    EXPECT_THAT(paths.ResolveNew(path), StatusIs(absl::StatusCode::kInvalidArgument)) << path;
  }
  EXPECT_THAT(paths.ResolveNew(std::string(300, 'x')),
              StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(paths.ResolveNew(std::string("a\0b", 3)),
              StatusIs(absl::StatusCode::kInvalidArgument));
}

}  // namespace
}  // namespace shira
