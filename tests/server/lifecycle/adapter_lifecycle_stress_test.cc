#include <atomic>
#include <random>
#include <thread>
#include <vector>

#include "base/steady_clock.h"
#include "base/strings.h"
#include "server/catalog/adapter_name.h"
#include "tests/server/lifecycle/lifecycle_fixture.h"
#include "tests/testutil/status_matchers.h"

namespace shira {
namespace {

class AdapterLifecycleStressTest : public testing::LifecycleFixture {};

// What each operation may answer while others work on the same names.
bool IsExpected(const absl::Status& status) {
  return status.ok() || absl::IsAborted(status) || absl::IsNotFound(status) ||
         absl::IsFailedPrecondition(status) || absl::IsDeadlineExceeded(status) ||
         absl::IsResourceExhausted(status);
}

TEST_F(AdapterLifecycleStressTest, ManyThreadsOnAFewNamesUnderATightBudget) {
  const std::vector<std::string> names = {"a", "b", "c", "d"};
  int64_t bytes = 0;
  for (size_t i = 0; i < names.size(); ++i) {
    MustLoad(names[i], 0.25f * static_cast<float>(i + 1));
    bytes += Info(names[i]).memory_bytes;
  }
  Restart(bytes / 2);

  std::atomic<int> used = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 6; ++t) {
    threads.emplace_back([&, t] {
      std::mt19937 random(t);
      const auto any_name = [&] { return names[random() % names.size()]; };
      for (int i = 0; i < 150; ++i) {
        absl::Status status;
        switch (random() % 6) {
          case 0:
          case 1:
            status = Load(any_name());
            break;
          case 2:
            status = Unload(any_name(), SteadyNow() + absl::Milliseconds(random() % 5));
            break;
          case 3:
            status = lifecycle_->SetDefault({{any_name(), 1.0}});
            break;
          default: {
            auto handle =
                lifecycle_->Acquire({{any_name(), 1.0 + static_cast<double>(random() % 3)}});
            status = handle.status();
            if (!handle.ok()) break;
            ++used;
            // What a handle names is there for as long as the handle is.
            const std::string& name = handle->adapters()[0].name;
            const AdapterInfo info = Info(name);
            EXPECT_NE(info.adapter, nullptr);
            EXPECT_EQ(info.adapter->digest, handle->adapters()[0].digest);
            EXPECT_EQ(handle->state()->entries(), 4);
            EXPECT_GE(info.running_requests, 1);
          }
        }
        EXPECT_TRUE(IsExpected(status)) << status;
        lifecycle_->List();
        EXPECT_THAT(lifecycle_->Violations(), ::testing::IsEmpty());
      }
    });
  }
  // The weights' owner, meanwhile.
  std::atomic<bool> over = false;
  std::thread owner([&] {
    while (!over) {
      const auto handle = lifecycle_->AcquireDefault();
      ASSERT_THAT(handle, testing::IsOk());
      engine_.Apply(handle->state());
      lifecycle_->Describe(engine_.resident()->key);
    }
  });
  for (std::thread& thread : threads) thread.join();
  over = true;
  owner.join();

  EXPECT_GT(used, 0);
  ASSERT_THAT(lifecycle_->SetDefault({}), testing::IsOk());
  for (const AdapterInfo& info : lifecycle_->List()) {
    EXPECT_EQ(info.running_requests, 0) << info.name;
    EXPECT_THAT(Unload(info.name), testing::IsOk());
  }
  engine_.Apply(engine_.base());
  EXPECT_TRUE(engine_.Verify().matches_base);
  // Every byte came back: half of the adapters fit again.
  EXPECT_THAT(Load("a"), testing::IsOk());
  EXPECT_THAT(Load("b"), testing::IsOk());
}

TEST_F(AdapterLifecycleStressTest, WhatManyThreadsHaveMadeOfItSurvivesARestart) {
  const testing::TempFolder state;
  AdapterLifecycle::Options options = Options();
  options.state_file = state.Path("state.json");
  options.max_concurrent_loads = 2;
  options.on_state_file_error = [](const absl::Status& error) { ADD_FAILURE() << error; };
  Restart(options);
  const std::vector<std::string> names = {"a", "b", "c"};
  const std::vector<std::string> aliases = {"prod", "test"};
  for (int i = 0; i < 6; ++i) WriteAdapter("content" + std::to_string(i), 0.25f * (i + 1));

  std::vector<std::thread> threads;
  for (int t = 0; t < 6; ++t) {
    threads.emplace_back([&, t] {
      std::mt19937 random(t);
      const auto any = [&](const std::vector<std::string>& of) { return of[random() % of.size()]; };
      const auto any_target = [&] {
        return random() % 2 == 0 ? any(names) : any(names) + "@" + std::to_string(random() % 8 + 1);
      };
      for (int i = 0; i < 60; ++i) {
        absl::Status status;
        switch (random() % 10) {
          case 0:
          case 1:
          case 2:
            status = lifecycle_
                         ->Load(any(names), "content" + std::to_string(random() % 6), "",
                                {.replace = true})
                         .status();
            break;
          case 3:
            status = Unload(any_target(), SteadyNow() + absl::Milliseconds(random() % 5));
            break;
          case 4:
            status = lifecycle_->SetAlias(any(aliases), any_target()).status();
            break;
          case 5:
            status = lifecycle_->RollbackAlias(any(aliases)).status();
            break;
          case 6:
            status = random() % 4 == 0 ? lifecycle_->DeleteAlias(any(aliases))
                                       : lifecycle_->PinInMemory(any_target()).status();
            break;
          case 7:
            status = lifecycle_->Unpin(any_target()).status();
            break;
          default: {
            const auto handle =
                lifecycle_->Acquire({{random() % 2 == 0 ? any(aliases) : any(names), 1.0}});
            status = handle.status();
            if (!handle.ok()) break;
            // The version that it got stays until it is let go, replaced or not.
            const AdapterRef& ref = handle->adapters()[0];
            const auto info = lifecycle_->Get(AdapterVersion{ref.name, ref.version}.ToString());
            ASSERT_TRUE(info.has_value()) << ref.name << "@" << ref.version;
            EXPECT_EQ(info->adapter->digest, ref.digest);
          }
        }
        EXPECT_TRUE(IsExpected(status)) << status;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();

  const auto listed = [&] {
    std::vector<std::string> lines;
    for (const AdapterInfo& info : lifecycle_->List()) {
      lines.push_back(StrCat(info.name, "@", info.version, " ", AdapterStateName(info.state), " ",
                             info.adapter->digest.Hex(), info.pinned ? " pinned" : ""));
      EXPECT_EQ(info.running_requests, 0) << lines.back();
    }
    for (const AliasInfo& alias : lifecycle_->Aliases()) {
      lines.push_back(StrCat(alias.name, " -> ", alias.target.ToString()));
      for (const AdapterVersion& version : alias.history) lines.back() += " " + version.ToString();
    }
    return lines;
  };
  EXPECT_THAT(lifecycle_->Violations(), ::testing::IsEmpty());
  const std::vector<std::string> before = listed();
  EXPECT_FALSE(before.empty());
  Restart(options);
  EXPECT_TRUE(lifecycle_->Restore().failed.empty());
  EXPECT_EQ(listed(), before);

  for (const AliasInfo& alias : lifecycle_->Aliases()) {
    EXPECT_THAT(lifecycle_->DeleteAlias(alias.name), testing::IsOk());
  }
  for (const std::string& name : names) {
    if (!lifecycle_->Get(name).has_value()) continue;
    EXPECT_THAT(Unload(name), testing::IsOk());
  }
  EXPECT_TRUE(lifecycle_->List().empty());
  EXPECT_EQ(lifecycle_->memory_in_use_bytes(), 0);
}

}  // namespace
}  // namespace shira
