// Several threads at everything at once; every answer is checked against the weights that it asked
// for.

#include <atomic>
#include <random>
#include <thread>

#include "base/steady_clock.h"
#include "server/engine/engine.h"
#include "tests/server/lifecycle/lifecycle_fixture.h"
#include "tests/testutil/fake_model_executor.h"
#include "tests/testutil/recording_observer.h"
#include "tests/testutil/status_matchers.h"

namespace shira {
namespace {

using ::shira::testing::FakeModelExecutor;
using ::shira::testing::Fingerprint;
using ::shira::testing::IsOk;
using ::shira::testing::PlainWeights;
using ::shira::testing::RecordingObserver;

class EngineStressTest : public testing::LifecycleFixture {
 protected:
  // The weights under one adapter, computed apart.
  Fingerprint WeightsOf(const std::string& folder) const {
    PlainWeights weights(DType::kBF16, weights_.shapes(), 1);
    SwitchEngine engine(weights.memory(), {});
    engine.Apply(*engine.Compile({{*reader_.Read(root_.Path(folder)), 1.0}}));
    return testing::FingerprintOf(weights.data());
  }
};

TEST_F(EngineStressTest, EveryAnswerIsRightWhateverElseGoesOn) {
  const std::vector<std::string> names = {"a", "b", "c"};
  std::map<std::string, Fingerprint> weights_of;
  for (size_t i = 0; i < names.size(); ++i) {
    MustLoad(names[i], 0.25f * static_cast<float>(i + 1));
    weights_of[names[i]] = WeightsOf(names[i]);
  }
  FakeModelExecutor::Options model;
  model.kv_budget_tokens = 120;
  FakeModelExecutor executor(weights_, model);
  Engine::Options options;
  options.max_queued = 8;
  options.max_running = 3;
  options.step.step_tokens = 5;
  options.step.max_state_wait = absl::Microseconds(200);
  Engine engine(options, executor, engine_);

  std::atomic<int> answers = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      std::mt19937 random(t);
      for (int i = 0; i < 80; ++i) {
        const std::string& name = names[random() % names.size()];
        auto handle = lifecycle_->Acquire({{name, 1.0}});
        if (!handle.ok()) continue;  // being unloaded
        auto observer = std::make_shared<RecordingObserver>();
        GenerationRequest request;
        for (size_t n = 1 + random() % 20; n > 0; --n) {
          request.prompt.push_back(static_cast<int32_t>(random() % FakeModelExecutor::kVocabSize));
        }
        const std::vector<int32_t> prompt = request.prompt;
        request.max_tokens = 1 + static_cast<int64_t>(random() % 30);
        const int64_t count = request.max_tokens;
        request.state = *std::move(handle);
        request.observer = observer;
        const bool expires = random() % 8 == 0;
        if (expires) request.deadline = SteadyNow() + absl::Microseconds(random() % 2000);
        const auto token = engine.Submit(std::move(request));
        if (!token.ok()) {
          EXPECT_TRUE(absl::IsResourceExhausted(token.status())) << token.status();
          continue;
        }
        if (random() % 4 == 0) (*token)->Cancel();
        const absl::Status status = observer->status();
        const std::vector<int32_t> tokens = observer->tokens();
        const std::vector<int32_t> expected =
            FakeModelExecutor::Expected(weights_of.at(name), prompt, count);
        // Ended early or not: no token came from other weights.
        ASSERT_LE(tokens.size(), expected.size());
        EXPECT_TRUE(std::equal(tokens.begin(), tokens.end(), expected.begin()));
        if (status.ok()) {
          EXPECT_EQ(tokens.size(), expected.size());
          ++answers;
        } else {
          EXPECT_TRUE(absl::IsCancelled(status) || absl::IsDeadlineExceeded(status)) << status;
        }
      }
    });
  }
  std::atomic<bool> over = false;
  std::thread admin([&] {
    std::mt19937 random(99);
    while (!over) {
      const std::string& name = names[random() % names.size()];
      switch (random() % 5) {
        case 0: {
          const auto cancel = [&](const AdapterInfo& info) {
            engine.CancelUsersOf(info.adapter->digest);
          };
          const auto wait = [](const AdapterInfo&) {};
          const SteadyTime deadline = SteadyNow() + absl::Milliseconds(20);
          const absl::Status status = random() % 2 == 0 ? lifecycle_->Unload(name, deadline, cancel)
                                                        : lifecycle_->Unload(name, deadline, wait);
          EXPECT_TRUE(status.ok() || absl::IsDeadlineExceeded(status)) << status;
          EXPECT_THAT(Load(name), IsOk());
          break;
        }
        case 1:
        case 2: {
          const auto handle = lifecycle_->Acquire({{name, 0.5}});
          ASSERT_THAT(handle, IsOk());
          EXPECT_THAT(engine.Apply(*handle, SteadyTime::InfiniteFuture()), IsOk());
          break;
        }
        default: {
          const auto report = engine.Verify(SteadyTime::InfiniteFuture());
          ASSERT_THAT(report, IsOk());
          EXPECT_TRUE(report->matches_expected);
          lifecycle_->List();
          engine.stats();
        }
      }
    }
  });
  for (std::thread& thread : threads) thread.join();
  over = true;
  admin.join();
  EXPECT_GT(answers, 0);

  ASSERT_OK_AND_ASSIGN(const StateHandle base, lifecycle_->Acquire({}));
  ASSERT_THAT(engine.Apply(base, SteadyTime::InfiniteFuture()), IsOk());
  ASSERT_OK_AND_ASSIGN(const VerifyReport report, engine.Verify(SteadyTime::InfiniteFuture()));
  EXPECT_TRUE(report.matches_base);
  for (const AdapterInfo& info : lifecycle_->List()) EXPECT_EQ(info.running_requests, 0);
  EXPECT_EQ(executor.kv_used_bytes(), 0);
}

}  // namespace
}  // namespace shira
