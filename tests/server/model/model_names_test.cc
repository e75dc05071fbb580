#include "server/model/model_names.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "server/model/hub_cache.h"
#include "tests/testutil/temp_folder.h"

namespace shira {
namespace {

using ::shira::testing::TempFolder;
using ::testing::ElementsAre;

constexpr const char* kSnapshot = "models--Some-Org--Small-1B/snapshots/0123abcd";

TEST(HubCacheTest, KnowsARepositoryByItsFolder) {
  const std::string cache = "/home/me/.cache/huggingface/hub/";
  EXPECT_EQ(HubRepositoryOf(cache + kSnapshot), "Some-Org/Small-1B");
  EXPECT_EQ(HubRepositoryOf(cache + kSnapshot + "/"), "Some-Org/Small-1B");
  EXPECT_EQ(HubRepositoryOf(cache + kSnapshot + "/sub/x.gguf"), "Some-Org/Small-1B");
  EXPECT_EQ(HubRepositoryOf(cache + "models--gpt2/blobs/0123"), "gpt2");
  for (const char* other :
       {"", ".", "/", "/srv/models--a--b", "/srv/models--a--b/model",
        "/srv/datasets--a--b/snapshots/1", "/srv/models--/snapshots/1", "/srv/snapshots/1"}) {
    EXPECT_EQ(HubRepositoryOf(other), "") << other;
  }
}

TEST(HubCacheTest, FollowsLinksIntoACache) {
  const TempFolder folder;
  std::filesystem::create_directories(folder.Path(kSnapshot));
  std::filesystem::create_directory_symlink(folder.Path(kSnapshot), folder.Path("model"));
  EXPECT_EQ(HubRepositoryOf(folder.Path("model")), "Some-Org/Small-1B");
}

// A model on disk of which only the name matters.
class Source : public WeightSource {
 public:
  const ModelConfig& config() const override { return config_; }
  const std::string& name() const override { return name_; }
  const GgufFile* gguf() const override { return gguf_; }
  absl::Status Read(std::string_view, DType, WeightDestination, const ParallelFor&) const override {
    return absl::OkStatus();
  }

  ModelConfig config_;
  std::string name_ = "name";
  const GgufFile* gguf_ = nullptr;
};

TEST(ModelNamesTest, AFolderIsCalledByItsLastComponentAndByItsConfig) {
  const TempFolder folder;
  folder.Write("config.json", R"({"_name_or_path": "Some-Org/Other"})");
  EXPECT_THAT(NamesOfModel(folder.path() + "/", Source()),
              ElementsAre("name", std::filesystem::path(folder.path()).filename().string(),
                          "Some-Org/Other"));
}

TEST(ModelNamesTest, WhatLiesInTheHubsCacheIsCalledByItsRepository) {
  const TempFolder folder;
  std::filesystem::create_directories(folder.Path(kSnapshot));
  EXPECT_THAT(NamesOfModel(folder.Path(kSnapshot), Source()),
              ElementsAre("name", "Some-Org/Small-1B"));

  const std::string blobs = folder.Path("models--Some-Org--Small-1B/blobs");
  std::filesystem::create_directories(blobs);
  folder.Write("models--Some-Org--Small-1B/blobs/77ff", "GGUF");
  const std::string file = folder.Path(std::string(kSnapshot) + "/small-q4_0.gguf");
  std::filesystem::create_symlink(blobs + "/77ff", file);
  const GgufFile gguf;
  Source source;
  source.gguf_ = &gguf;
  EXPECT_THAT(NamesOfModel(file, source), ElementsAre("name", "Some-Org/Small-1B", "small-q4_0"));
}

}  // namespace
}  // namespace shira
