#include <atomic>
#include <random>
#include <thread>
#include <vector>

#include "tests/server/registry/registry_fixture.h"
#include "tests/testutil/status_matchers.h"

namespace shira {
namespace {

class AdapterRegistryStressTest : public testing::RegistryFixture {};

// What each operation may answer while others work on the same names.
bool IsExpected(const absl::Status& status) {
  return status.ok() || absl::IsAborted(status) || absl::IsNotFound(status) ||
         absl::IsFailedPrecondition(status) || absl::IsDeadlineExceeded(status) ||
         absl::IsResourceExhausted(status);
}

TEST_F(AdapterRegistryStressTest, ManyThreadsOnAFewNamesUnderATightBudget) {
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
            status = Unload(any_name(), absl::Now() + absl::Milliseconds(random() % 5));
            break;
          case 3:
            status = registry_->SetDefault({{any_name(), 1.0}});
            break;
          default: {
            auto handle =
                registry_->Acquire({{any_name(), 1.0 + static_cast<double>(random() % 3)}});
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
        registry_->List();
      }
    });
  }
  // The weights' owner, meanwhile.
  std::atomic<bool> over = false;
  std::thread owner([&] {
    while (!over) {
      const auto handle = registry_->AcquireDefault();
      ASSERT_THAT(handle, testing::IsOk());
      engine_.Apply(handle->state());
      registry_->Describe(engine_.resident()->key);
    }
  });
  for (std::thread& thread : threads) thread.join();
  over = true;
  owner.join();

  EXPECT_GT(used, 0);
  ASSERT_THAT(registry_->SetDefault({}), testing::IsOk());
  for (const AdapterInfo& info : registry_->List()) {
    EXPECT_EQ(info.running_requests, 0) << info.name;
    EXPECT_THAT(Unload(info.name), testing::IsOk());
  }
  engine_.Apply(engine_.base());
  EXPECT_TRUE(engine_.Verify().matches_base);
  // Every byte came back: half of the adapters fit again.
  EXPECT_THAT(Load("a"), testing::IsOk());
  EXPECT_THAT(Load("b"), testing::IsOk());
}

}  // namespace
}  // namespace shira
