// The rules about names and versions, without a file, an engine or a thread.

#include "server/catalog/catalog.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/strings.h"
#include "tests/testutil/status_matchers.h"

namespace shira {
namespace {

using ::shira::testing::IsOk;
using ::shira::testing::StatusIs;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class CatalogTest : public ::testing::Test {
 protected:
  ~CatalogTest() override { EXPECT_THAT(catalog_->Violations(), IsEmpty()); }

  void Restart(int64_t max_adapters, int64_t keep_versions) {
    catalog_ = std::make_unique<Catalog>(Catalog::Options{
        .max_adapters = max_adapters,
        .keep_versions = keep_versions,
        .on_end = [this](Catalog::Ended version) {
          catalog_->List();  // which waits for the lock
          ended_.push_back(StrCat(version.version.ToString(), version.content ? "" : " (shared)"));
        }});
  }

  // One more version of a name, with this text for its content.
  absl::Status Publish(const std::string& name, const std::string& content,
                       FileOwner owner = FileOwner::kUser) {
    absl::StatusOr<Catalog::LoadTurn> turn = catalog_->BeginLoad(name, content);
    if (!turn.ok()) return turn.status();
    const absl::StatusOr<Catalog::Published> published = catalog_->Publish(
        *turn, {.summary = {.digest = Sha256::Of(content), .format = "", .base_model = ""},
                .origin = {content, content, Sha256::Of(content), owner},
                .held = {},
                .load_duration = absl::ZeroDuration()});
    catalog_->EndLoad(*turn);
    return published.status();
  }
  std::vector<std::string> Listed() const {
    std::vector<std::string> listed;
    for (const Catalog::Entry& entry : catalog_->List()) {
      listed.push_back(StrCat(entry.info.name, "@", entry.info.version, " ",
                              AdapterStateName(entry.info.state)));
    }
    return listed;
  }

  std::unique_ptr<Catalog> catalog_;
  std::vector<std::string> ended_;

  CatalogTest() { Restart(100, 0); }
};

TEST_F(CatalogTest, AVersionEndsWithItsLastUserAndIsToldOfWithoutTheLock) {
  ASSERT_THAT(Publish("tone", "one"), IsOk());
  std::optional<Catalog::Uses> uses;
  {
    absl::StatusOr<Catalog::Uses> used = catalog_->Use({{"tone", 0.5}});
    ASSERT_THAT(used, IsOk());
    uses = *std::move(used);
  }
  ASSERT_THAT(Publish("tone", "two"), IsOk());
  EXPECT_THAT(Listed(), ElementsAre("tone@1 UNLOADING", "tone@2 READY"));
  EXPECT_THAT(catalog_->Violations(), IsEmpty());
  EXPECT_THAT(ended_, IsEmpty());
  EXPECT_EQ(uses->versions().at(0).weight, 0.5);
  uses.reset();
  EXPECT_THAT(ended_, ElementsAre("tone@1"));
  EXPECT_THAT(Listed(), ElementsAre("tone@2 READY"));
}

TEST_F(CatalogTest, ContentIsGoneWithItsLastVersionAlone) {
  ASSERT_THAT(Publish("a", "same"), IsOk());
  ASSERT_THAT(Publish("b", "same"), IsOk());
  for (const char* name : {"a", "b"}) {
    absl::StatusOr<Catalog::Unloading> unloading = catalog_->BeginUnload(name);
    ASSERT_THAT(unloading, IsOk());
    EXPECT_TRUE(catalog_->AwaitAndEnd(*unloading, SteadyTime::InfinitePast()));
  }
  EXPECT_THAT(ended_, ElementsAre("a@1 (shared)", "b@1"));
  EXPECT_FALSE(catalog_->HasContent(Sha256::Of("same")));
}

TEST_F(CatalogTest, NobodyElseHasTheNameDuringATurn) {
  ASSERT_THAT(Publish("tone", "one"), IsOk());
  const absl::StatusOr<Catalog::LoadTurn> turn = catalog_->BeginLoad("tone", "two");
  ASSERT_THAT(turn, IsOk());
  EXPECT_THAT(Publish("tone", "three"),
              StatusIs(absl::StatusCode::kAborted, HasSubstr("being loaded")));
  EXPECT_THAT(catalog_->BeginUnload("tone"), StatusIs(absl::StatusCode::kAborted));
  catalog_->Fail(*turn, absl::DataLossError("damaged"));
  catalog_->EndLoad(*turn);
  EXPECT_THAT(Listed(), ElementsAre("tone@1 READY"));
  EXPECT_THAT(Publish("tone", "three"), IsOk());
}

TEST_F(CatalogTest, WhatIsWantedStaysUntilNobodyWantsIt) {
  ASSERT_THAT(Publish("tone", "one"), IsOk());
  ASSERT_THAT(catalog_->SetAlias("prod", "tone"), IsOk());
  {
    absl::StatusOr<Catalog::Uses> uses = catalog_->Use({{"tone", 1.0}});
    ASSERT_THAT(uses, IsOk());
    ASSERT_THAT(catalog_->SetDefault({{"tone@1", 1.0}}, *uses), IsOk());
    ASSERT_THAT(catalog_->Pin(*uses, "tone", nullptr), IsOk());
  }
  ASSERT_THAT(catalog_->SetAlias("next", "tone"), IsOk());
  ASSERT_THAT(Publish("tone", "two"), IsOk());  // takes over the pin
  EXPECT_TRUE(catalog_->Get("tone")->info.pinned);
  EXPECT_FALSE(catalog_->Get("tone@1")->info.pinned);
  for (const char* alias : {"prod", "next"}) ASSERT_THAT(catalog_->DeleteAlias(alias), IsOk());
  EXPECT_THAT(ended_, IsEmpty());
  ASSERT_THAT(catalog_->SetDefault({}, Catalog::Uses()), IsOk());
  EXPECT_THAT(ended_, ElementsAre("tone@1"));
}

TEST_F(CatalogTest, KeptVersionsMakeRoomWhenThereAreTooMany) {
  Restart(2, 1);
  ASSERT_THAT(Publish("tone", "one", FileOwner::kUpload), IsOk());
  ASSERT_THAT(Publish("tone", "two", FileOwner::kUpload), IsOk());
  EXPECT_THAT(Listed(), ElementsAre("tone@1 READY", "tone@2 READY"));
  ASSERT_THAT(Publish("other", "three"), IsOk());
  EXPECT_THAT(ended_, ElementsAre("tone@1"));
  EXPECT_THAT(Publish("more", "four"), StatusIs(absl::StatusCode::kResourceExhausted));
  EXPECT_FALSE(catalog_->EndRecent(FileOwner::kUpload));
}

TEST_F(CatalogTest, ASnapshotIsMadeOfChangesAlone) {
  EXPECT_EQ(catalog_->SnapshotAfter(0), std::nullopt);
  ASSERT_THAT(Publish("tone", "one"), IsOk());
  const auto snapshot = catalog_->SnapshotAfter(0);
  ASSERT_TRUE(snapshot.has_value());
  EXPECT_EQ(snapshot->first, catalog_->changes());
  ASSERT_EQ(snapshot->second.adapters.size(), 1u);
  EXPECT_EQ(catalog_->SnapshotAfter(snapshot->first), std::nullopt);

  Restart(100, 0);
  catalog_->Restore(snapshot->second);
  EXPECT_THAT(Listed(), ElementsAre("tone@1 LOADING"));
  catalog_->FailRestored({"tone", 1}, absl::NotFoundError("no file"));
  catalog_->EndRestore();
  EXPECT_THAT(Listed(), ElementsAre("tone@1 FAILED"));
  EXPECT_THAT(catalog_->Use({{"tone", 1.0}}),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("no file")));
  ASSERT_THAT(Publish("tone", "one"), IsOk());  // the same content is the same version again
  EXPECT_THAT(Listed(), ElementsAre("tone@1 READY"));
  ASSERT_THAT(Publish("tone", "two"), IsOk());
  EXPECT_THAT(Listed(), ElementsAre("tone@2 READY"));
}

}  // namespace
}  // namespace shira
