// File: tests/server/engine/engine_fixture.h
//
// An engine over a fake model and a real switch engine on plain memory, and what any request has to
// answer.

#ifndef SHIRA_TESTS_SERVER_ENGINE_ENGINE_FIXTURE_H_
#define SHIRA_TESTS_SERVER_ENGINE_ENGINE_FIXTURE_H_

#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <memory>
#include <numeric>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "server/engine/engine.h"
#include "tests/testutil/adapter_builder.h"
#include "tests/testutil/fake_model_executor.h"
#include "tests/testutil/plain_weights.h"
#include "tests/testutil/recording_observer.h"

namespace shira::testing {

inline PlainWeights TinyWeights() { return {DType::kBF16, {{"q", 8, 16}, {"k", 4, 16}}, 1}; }

// Adapter number `number` over TinyWeights().
inline std::shared_ptr<const SparseAdapter> TinyAdapter(int number) {
  std::mt19937 random(number);
  std::vector<ParameterDelta> deltas;
  for (const auto& [name, rows] : {std::pair("k", 4), std::pair("q", 8)}) {
    const std::vector<int64_t> positions = RandomPositions(rows, 16, 10, random);
    deltas.push_back(MakeDelta(name, rows, 16, positions, random));
  }
  return MakeAdapter(std::to_string(number), std::move(deltas));
}

// Stops the engine's thread in Forward() until it is opened.
class Gate {
 public:
  absl::Status Pass() {
    absl::MutexLock lock(&mutex_);
    ++waiting_;
    mutex_.Await(absl::Condition(&open_));
    --waiting_;
    return absl::OkStatus();
  }
  // Until a step has come to the gate.
  void WaitForStep() {
    absl::MutexLock lock(&mutex_);
    const auto reached = [&]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return waiting_ > 0; };
    mutex_.Await(absl::Condition(&reached));
  }
  void Open() {
    absl::MutexLock lock(&mutex_);
    open_ = true;
  }

 private:
  absl::Mutex mutex_;
  bool open_ ABSL_GUARDED_BY(mutex_) = false;
  int waiting_ ABSL_GUARDED_BY(mutex_) = 0;
};

class EngineFixture : public ::testing::Test {
 protected:
  using Observer = std::shared_ptr<RecordingObserver>;

  void Start(Engine::Options options = {}, FakeModelExecutor::Options model = {}) {
    engine_.reset();
    executor_ = std::make_unique<FakeModelExecutor>(weights_, model);
    engine_ = std::make_unique<Engine>(options, *executor_, switch_engine_);
    executor_->ForgetTrace();  // what the engine tried out at its start
  }
  // The next step, and all that follow, stop at the gate until it is opened.
  std::shared_ptr<Gate> CloseGate() {
    auto gate = std::make_shared<Gate>();
    executor_->SetForwardHook([gate](auto) { return gate->Pass(); });
    return gate;
  }

  // 0 is the base. Counts as a pin until it is destroyed.
  StateHandle State(int adapter) {
    std::vector<WeightedAdapterRef> terms;
    std::vector<AdapterRef> refs;
    if (adapter != 0) {
      terms.push_back({TinyAdapter(adapter), 1.0});
      refs.push_back({std::to_string(adapter), 1, terms[0].adapter->digest, 1.0});
    }
    ++pins_;
    return StateHandle(*switch_engine_.Compile(std::move(terms)), std::move(refs),
                       [this] { --pins_; });
  }

  GenerationRequest Request(int adapter, std::vector<int32_t> prompt, int64_t max_tokens,
                            Observer observer) {
    GenerationRequest request;
    request.id = "test";
    request.prompt = std::move(prompt);
    request.max_tokens = max_tokens;
    request.state = State(adapter);
    request.observer = std::move(observer);
    return request;
  }
  Observer Submit(int adapter, std::vector<int32_t> prompt, int64_t max_tokens) {
    auto observer = std::make_shared<RecordingObserver>();
    const auto token = engine_->Submit(Request(adapter, std::move(prompt), max_tokens, observer));
    EXPECT_TRUE(token.ok()) << token.status();
    return observer;
  }

  // The weights in a state, computed apart from the engine under test.
  static Fingerprint WeightsOf(int adapter) {
    PlainWeights weights = TinyWeights();
    SwitchEngine engine(weights.memory(), {});
    if (adapter != 0) engine.Apply(*engine.Compile({{TinyAdapter(adapter), 1.0}}));
    return FingerprintOf(weights.data());
  }
  static std::vector<int32_t> Expected(int adapter, const std::vector<int32_t>& prompt,
                                       int64_t count) {
    return FakeModelExecutor::Expected(WeightsOf(adapter), prompt, count);
  }
  static std::vector<int32_t> Prompt(int64_t length, int32_t first = 1) {
    std::vector<int32_t> prompt(length);
    std::iota(prompt.begin(), prompt.end(), first);
    return prompt;
  }

  std::atomic<int> pins_ = 0;
  PlainWeights weights_ = TinyWeights();
  SwitchEngine switch_engine_{weights_.memory(), {}};
  std::unique_ptr<FakeModelExecutor> executor_;
  std::unique_ptr<Engine> engine_;  // destroyed before what it uses
};

}  // namespace shira::testing

#endif  // SHIRA_TESTS_SERVER_ENGINE_ENGINE_FIXTURE_H_
