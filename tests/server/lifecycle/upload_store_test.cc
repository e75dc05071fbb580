#include "server/lifecycle/upload_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "base/strings.h"
#include "tests/testutil/status_matchers.h"
#include "tests/testutil/temp_folder.h"

namespace shira {
namespace {

namespace fs = std::filesystem;
using ::shira::testing::IsOk;
using ::shira::testing::StatusIs;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class UploadStoreTest : public ::testing::Test {
 protected:
  UploadStoreTest() { Reopen(); }

  void Reopen(int64_t quota_bytes = 1000, int64_t max_upload_bytes = 100) {
    store_.reset();
    auto store = UploadStore::Open({folder_.Path("uploads"), max_upload_bytes, quota_bytes});
    ASSERT_THAT(store, IsOk());
    store_ = *std::move(store);
  }

  static UploadManifest Manifest(std::vector<UploadManifest::File> files) {
    return {"tone", std::move(files)};
  }
  std::unique_ptr<UploadStore::Upload> MustBegin(std::vector<UploadManifest::File> files) {
    auto upload = store_->Begin(Manifest(std::move(files)));
    EXPECT_THAT(upload, IsOk());
    return upload.ok() ? *std::move(upload) : nullptr;
  }
  // What is in the folder but the lock.
  std::vector<std::string> Entries() const {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(store_->folder())) {
      if (entry.path().filename() != ".lock") names.push_back(entry.path().filename());
    }
    return names;
  }
  static std::string Content(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }

  const testing::TempFolder folder_;
  std::unique_ptr<UploadStore> store_;
};

TEST_F(UploadStoreTest, FilesAppearTogetherAtTheEnd) {
  auto upload = MustBegin(
      {{"adapter_config.json", 3, Sha256::Of("abc").Hex()}, {"adapter_model.safetensors", 5, ""}});
  ASSERT_THAT(upload->Append("ab"), IsOk());
  ASSERT_THAT(upload->Append("cde"), IsOk());  // over a file's end
  EXPECT_THAT(store_->List(), IsEmpty());
  ASSERT_THAT(upload->Append("fgh"), IsOk());
  ASSERT_OK_AND_ASSIGN(const std::string path, upload->Commit());
  upload.reset();
  EXPECT_EQ(Content(path + "/adapter_config.json"), "abc");
  EXPECT_EQ(Content(path + "/adapter_model.safetensors"), "defgh");
  EXPECT_THAT(store_->List(), ElementsAre(path));
  EXPECT_EQ(store_->in_use_bytes(), 8);
  store_->Remove(path);
  EXPECT_THAT(Entries(), IsEmpty());
  EXPECT_EQ(store_->in_use_bytes(), 0);
  store_->Remove(path);            // not there any more
  store_->Remove(folder_.path());  // no upload
  EXPECT_TRUE(fs::exists(folder_.path()));
}

TEST_F(UploadStoreTest, ABrokenStreamLeavesNothing) {
  for (const char* sent : {"", "a", "abcd"}) {
    auto upload = MustBegin({{"a.shira", 3, ""}, {"b", 2, ""}});
    EXPECT_EQ(store_->in_use_bytes(), 5);
    ASSERT_THAT(upload->Append(sent), IsOk());
    EXPECT_THAT(upload->Commit().status(),
                StatusIs(absl::StatusCode::kDataLoss, HasSubstr("bytes of file")));
    upload.reset();
    EXPECT_THAT(Entries(), IsEmpty());
    EXPECT_EQ(store_->in_use_bytes(), 0);
  }
}

TEST_F(UploadStoreTest, MoreBytesThanAnnouncedAreRefused) {
  auto upload = MustBegin({{"a.shira", 3, ""}});
  EXPECT_THAT(upload->Append("abcd"), StatusIs(absl::StatusCode::kInvalidArgument));
  upload.reset();
  EXPECT_THAT(Entries(), IsEmpty());
}

TEST_F(UploadStoreTest, DigestsAreCheckedAsEachFileEnds) {
  auto upload = MustBegin({{"a.shira", 3, Sha256::Of("abd").Hex()}, {"b", 2, ""}});
  EXPECT_THAT(upload->Append("ab"), IsOk());
  EXPECT_THAT(upload->Append("c"),
              StatusIs(absl::StatusCode::kDataLoss, HasSubstr(Sha256::Of("abc").Hex())));
}

TEST_F(UploadStoreTest, SizesAreCheckedBeforeTheFirstByte) {
  EXPECT_THAT(store_->Begin(Manifest({{"a", 101, ""}})).status(),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("100 bytes")));
  EXPECT_THAT(store_->Begin(Manifest({{"a", 60, ""}, {"b", INT64_MAX, ""}})).status(),
              StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(Entries(), IsEmpty());
}

TEST_F(UploadStoreTest, AllUploadsShareTheQuota) {
  Reopen(/*quota_bytes=*/100);
  auto first = MustBegin({{"a", 60, ""}});
  EXPECT_THAT(store_->Begin(Manifest({{"a", 60, ""}})).status(),
              StatusIs(absl::StatusCode::kResourceExhausted, HasSubstr("60 of the 100 bytes")));
  ASSERT_THAT(first->Append(std::string(60, 'x')), IsOk());
  ASSERT_THAT(first->Commit(), IsOk());
  first.reset();
  // Complete ones count on, also after a restart.
  EXPECT_THAT(store_->Begin(Manifest({{"a", 60, ""}})).status(),
              StatusIs(absl::StatusCode::kResourceExhausted));
  Reopen(/*quota_bytes=*/100);
  EXPECT_EQ(store_->in_use_bytes(), 60);
  store_->Remove(store_->List().front());
  EXPECT_THAT(store_->Begin(Manifest({{"a", 60, ""}})), IsOk());
}

TEST_F(UploadStoreTest, RefusesNamesThatAreNoPlainFiles) {
  for (const char* name : {"", ".", "..", "../x", "a/b", "/etc/passwd", ".hidden", "a b", "a\nb",
                           "\xc3\xa4", "a\\b"}) {
    EXPECT_THAT(store_->Begin(Manifest({{name, 1, ""}})).status(),
                StatusIs(absl::StatusCode::kInvalidArgument))
        << name;
  }
  const auto refused = [&](std::vector<UploadManifest::File> files) {
    EXPECT_THAT(store_->Begin(Manifest(std::move(files))).status(),
                StatusIs(absl::StatusCode::kInvalidArgument));
  };
  refused({});
  refused({{"a", 1, ""}, {"a", 1, ""}});
  refused({{"a", 0, ""}});
  refused({{"a", -1, ""}});
  refused({{"a", 1, "abc"}});
  refused({{std::string(129, 'a'), 1, ""}});
  std::vector<UploadManifest::File> many;
  for (size_t i = 0; i <= kMaxUploadFiles; ++i) many.push_back({StrCat("f", i), 1, ""});
  refused(many);
  EXPECT_THAT(Entries(), IsEmpty());
}

TEST_F(UploadStoreTest, UploadsOfOneNameAtATimeDoNotMeet) {
  std::vector<std::thread> clients;
  for (int i = 0; i < 8; ++i) {
    clients.emplace_back([&, i] {
      const std::string content(10, static_cast<char>('a' + i));
      auto upload = store_->Begin(Manifest({{"a", 10, Sha256::Of(content).Hex()}}));
      ASSERT_THAT(upload, IsOk());
      for (const char c : content) ASSERT_THAT((*upload)->Append(std::string(1, c)), IsOk());
      ASSERT_OK_AND_ASSIGN(const std::string path, (*upload)->Commit());
      EXPECT_EQ(Content(path + "/a"), content);
    });
  }
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(store_->List().size(), 8u);
  EXPECT_EQ(store_->in_use_bytes(), 80);
}

TEST_F(UploadStoreTest, WhatAKilledServerLeftHalfWrittenIsRemoved) {
  const std::string left = folder_.Path("uploads/.tone.18a-0.partial-123-0");
  fs::create_directories(left);
  std::ofstream(left + "/.a.partial-123-1") << "half";
  fs::create_directories(folder_.Path("uploads/.git"));
  Reopen();
  EXPECT_THAT(Entries(), ElementsAre(".git"));
  EXPECT_EQ(store_->in_use_bytes(), 0);
}

TEST_F(UploadStoreTest, TwoServersCannotShareTheFolder) {
  EXPECT_THAT(UploadStore::Open({folder_.Path("uploads")}).status(),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("another server")));
}

}  // namespace
}  // namespace shira
