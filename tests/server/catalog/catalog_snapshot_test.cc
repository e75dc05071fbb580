#include "server/catalog/catalog_snapshot.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>

#include "absl/strings/str_replace.h"
#include "base/strings.h"
#include "tests/testutil/status_matchers.h"

namespace shira {
namespace {

using ::shira::testing::IsOk;
using ::shira::testing::StatusIs;
using ::testing::HasSubstr;

CatalogSnapshot Example() {
  CatalogSnapshot snapshot;
  snapshot.versions.last = {{"tone", 3}, {"blend", 1}, {"gone", 7}};
  snapshot.versions.forgotten = 12;
  snapshot.adapters = {
      {"blend", 1, Sha256::Of("b"), "blend", "", "/s.blends/1.shira", Sha256::Of("bf"),
       FileOwner::kBlend, false},
      {"tone", 2, Sha256::Of("t2"), "peft_shira", "/a/tone", "/a/tone", Sha256::Of("t2"),
       FileOwner::kUser, false},
      {"tone", 3, Sha256::Of("t3"), "packed_shira", "/u/tone.1-0", "/u/tone.1-0", Sha256::Of("t3"),
       FileOwner::kUpload, true},
  };
  snapshot.aliases = {{"prod", {"tone", 3}, {{"tone", 2}}}};
  snapshot.default_state = {{"prod", 0.1}, {"blend@1", -2.0}};
  return snapshot;
}

// The example with one piece of its text changed.
absl::Status WithChange(std::string_view from, std::string_view to) {
  const std::string text = SerializeSnapshot(Example());
  const std::string changed = absl::StrReplaceAll(text, {{ToAbsl(from), ToAbsl(to)}});
  EXPECT_NE(changed, text) << from;
  return ParseSnapshot(changed).status();
}

TEST(CatalogSnapshotTest, IsReadAsItWasWritten) {
  const std::string text = SerializeSnapshot(Example());
  ASSERT_OK_AND_ASSIGN(const CatalogSnapshot read, ParseSnapshot(text));
  EXPECT_EQ(SerializeSnapshot(read), text);
  EXPECT_EQ(read.versions, Example().versions);
  ASSERT_EQ(read.adapters.size(), 3u);
  EXPECT_EQ(read.adapters[2].digest, Sha256::Of("t3"));
  EXPECT_EQ(read.adapters[2].owner, FileOwner::kUpload);
  EXPECT_TRUE(read.adapters[2].pinned);
  EXPECT_EQ(read.aliases[0].target, (AdapterVersion{"tone", 3}));
  EXPECT_EQ(read.default_state, Example().default_state);
}

TEST(CatalogSnapshotTest, AnEmptyOneIsReadToo) {
  EXPECT_THAT(ParseSnapshot(SerializeSnapshot(CatalogSnapshot())), IsOk());
}

TEST(CatalogSnapshotTest, EveryPieceOfItIsNeeded) {
  const std::string text = SerializeSnapshot(Example());
  // The last character is the line feed behind the JSON.
  for (size_t size = 0; size + 1 < text.size(); ++size) {
    EXPECT_THAT(ParseSnapshot(text.substr(0, size)), StatusIs(absl::StatusCode::kDataLoss)) << size;
  }
}

TEST(CatalogSnapshotTest, ANewerFormatIsToldFromADamagedFile) {
  EXPECT_THAT(WithChange("\"format_version\": 2", "\"format_version\": 3"),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("found 3")));
  EXPECT_THAT(ParseSnapshot("{}"), StatusIs(absl::StatusCode::kDataLoss, HasSubstr("format")));
  EXPECT_THAT(ParseSnapshot("[]"), StatusIs(absl::StatusCode::kDataLoss));
  EXPECT_THAT(ParseSnapshot("\xff"), StatusIs(absl::StatusCode::kDataLoss));
}

TEST(CatalogSnapshotTest, TheFormatBeforeIsRead) {
  std::string text = SerializeSnapshot(Example());
  for (const auto& [from, to] : {std::pair("\"format_version\": 2", "\"format_version\": 1"),
                                 std::pair("\"forgotten_versions\": 12,", "")}) {
    const size_t place = text.find(from);
    ASSERT_NE(place, std::string::npos);
    text.replace(place, std::string(from).size(), to);
  }
  ASSERT_OK_AND_ASSIGN(const CatalogSnapshot read, ParseSnapshot(text));
  EXPECT_EQ(read.versions.last, Example().versions.last);
  EXPECT_EQ(read.versions.forgotten, 0);
}

TEST(CatalogSnapshotTest, RefusesWhatItWouldNotWrite) {
  const std::pair<const char*, const char*> changes[] = {
      {"\"aliases\":", "\"alias\":"},
      {"\"pinned\": true", "\"pinned\": 1"},
      {"\"pinned\": true", "\"pinned\": true, \"more\": 1"},
      {"\"name\": \"prod\",\n   \"target\"", "\"target\""},
      {"\"version\": 3", "\"version\": 0"},
      {"\"version\": 3", "\"version\": \"3\""},
      {"\"version\": 3", "\"version\": 2"},
      {"\"version\": 3", "\"version\": 4"},
      {"\"owner\": \"upload\"", "\"owner\": \"nobody\""},
      {"\"name\": \"blend\"", "\"name\": \"../x\""},
      {"\"sha256\": \"", "\"sha256\": \"z"},
      {"\"target\": \"tone@3\"", "\"target\": \"tone\""},
      {"\"target\": \"tone@3\"", "\"target\": \"tone@1\""},
      {"\"target\": \"tone@3\"", "\"target\": 3"},
      {"\"weight\": -2.0", "\"weight\": null"},
      {"\"name\": \"blend@1\"", "\"name\": \"blend@x\""},
      {"\"tone\": 3", "\"tone\": -3"},
      {"\"forgotten_versions\": 12", "\"forgotten_versions\": -1"},
      {"\"forgotten_versions\": 12,", ""},
      {"\"format_version\": 2", "\"format_version\": 1"},
  };
  for (const auto& [from, to] : changes) {
    EXPECT_THAT(WithChange(from, to), StatusIs(absl::StatusCode::kDataLoss)) << from << " " << to;
  }
  CatalogSnapshot twice = Example();
  twice.aliases.push_back({"blend", {"tone", 3}, {}});
  EXPECT_THAT(ParseSnapshot(SerializeSnapshot(twice)),
              StatusIs(absl::StatusCode::kDataLoss, HasSubstr("'blend' occurs twice")));
}

}  // namespace
}  // namespace shira
