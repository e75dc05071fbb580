// File: tests/server/lifecycle/lifecycle_fixture.h
//
// A life cycle over a folder of adapters and a switch engine over plain memory.

#ifndef SHIRA_TESTS_SERVER_LIFECYCLE_LIFECYCLE_FIXTURE_H_
#define SHIRA_TESTS_SERVER_LIFECYCLE_LIFECYCLE_FIXTURE_H_

#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "base/steady_clock.h"
#include "server/lifecycle/adapter_lifecycle.h"
#include "tests/testutil/adapter_builder.h"
#include "tests/testutil/plain_weights.h"
#include "tests/testutil/status_matchers.h"
#include "tests/testutil/temp_folder.h"

namespace shira::testing {

class LifecycleFixture : public ::testing::Test {
 protected:
  LifecycleFixture() { Restart(int64_t{1} << 30); }

  // A new life cycle.
  void Restart(int64_t memory_budget_bytes, int64_t max_adapters = 100) {
    AdapterLifecycle::Options options = Options();
    options.max_adapters = max_adapters;
    options.memory_budget_bytes = memory_budget_bytes;
    Restart(std::move(options));
  }
  void Restart(AdapterLifecycle::Options options) {
    lifecycle_.reset();  // which has files locked
    auto lifecycle = AdapterLifecycle::Create(std::move(options), reader_, engine_);
    ASSERT_TRUE(lifecycle.ok()) << lifecycle.status();
    lifecycle_ = *std::move(lifecycle);
  }
  AdapterLifecycle::Options Options() const {
    AdapterLifecycle::Options options;
    options.roots = {root_.path()};
    options.max_adapters = 100;
    options.memory_budget_bytes = int64_t{1} << 30;
    return options;
  }

  // Writes an adapter whose every value is `value`; equal values make equal content.
  void WriteAdapter(const std::string& folder, float value) const {
    AdapterFolder files;
    files.AddLayer("model.layers.0.self_attn.q_proj", {{0, 0}, {3, 7}, {7, 15}},
                   {value, value, value});
    files.AddLayer("model.layers.0.self_attn.k_proj", {{1, 2}}, {value});
    files.Write(root_.Path(folder));
  }

  absl::Status Load(const std::string& name) { return lifecycle_->Load(name, name, "").status(); }
  // Writes and loads.
  void MustLoad(const std::string& name, float value) {
    WriteAdapter(name, value);
    const absl::Status status = Load(name);
    ASSERT_TRUE(status.ok()) << status;
  }
  absl::Status Unload(const std::string& name, SteadyTime deadline = SteadyTime::InfiniteFuture()) {
    return lifecycle_->Unload(name, deadline, [](const AdapterInfo&) {});
  }
  AdapterInfo Info(const std::string& name) const {
    const std::optional<AdapterInfo> info = lifecycle_->Get(name);
    EXPECT_TRUE(info.has_value()) << name;
    return info.value_or(AdapterInfo());
  }

  // Until the condition holds; the test's own timeout ends a wait in vain.
  template <typename Condition>
  static void Await(Condition condition) {
    while (!condition()) absl::SleepFor(absl::Milliseconds(1));
  }

  // Called inside of every compilation, on the thread that compiles.
  void SetCompileHook(std::function<void()> hook) {
    absl::MutexLock lock(&hook_mutex_);
    hook_ = std::move(hook);
  }

  // Loads two adapters at a time, and expects that both are inside of their compilations at once.
  void ExpectTwoLoadsMeetWhileCompiling() {
    WriteAdapter("a", 0.5f);
    WriteAdapter("b", 0.25f);
    absl::Mutex mutex;
    int inside = 0;
    bool met = false;
    SetCompileHook([&] {
      absl::MutexLock lock(&mutex);
      met |= ++inside == 2;
      mutex.AwaitWithTimeout(absl::Condition(&met), absl::Seconds(30));
      --inside;
    });
    std::thread other([&] { EXPECT_THAT(Load("a"), IsOk()); });
    EXPECT_THAT(Load("b"), IsOk());
    other.join();
    EXPECT_TRUE(met);
  }

  SwitchEngine::Options SwitchOptions() {
    SwitchEngine::Options options;
    options.reserve = [this](int64_t) {
      std::function<void()> hook;
      {
        absl::MutexLock lock(&hook_mutex_);
        hook = hook_;
      }
      if (hook) hook();
      return fail_compilation_ ? absl::ResourceExhaustedError("out of memory, by a test")
                               : absl::OkStatus();
    };
    return options;
  }

  const TempFolder root_;
  PlainWeights weights_{DType::kBF16,
                        {{"model.layers.0.self_attn.q_proj.weight", 8, 16},
                         {"model.layers.0.self_attn.k_proj.weight", 4, 16}},
                        1};
  const AdapterReader reader_{weights_.identity(), {}};
  std::atomic<bool> fail_compilation_ = false;
  absl::Mutex hook_mutex_;
  std::function<void()> hook_ ABSL_GUARDED_BY(hook_mutex_);
  SwitchEngine engine_{weights_.memory(), SwitchOptions()};
  std::unique_ptr<AdapterLifecycle> lifecycle_;
};

}  // namespace shira::testing

#endif  // SHIRA_TESTS_SERVER_LIFECYCLE_LIFECYCLE_FIXTURE_H_
