// File: tests/testutil/recording_observer.h
//
// Keeps what one generation's observer was told, checks the protocol, and lets a test wait for it.

#ifndef SHIRA_TESTS_TESTUTIL_RECORDING_OBSERVER_H_
#define SHIRA_TESTS_TESTUTIL_RECORDING_OBSERVER_H_

#include <gtest/gtest.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "server/engine/generation.h"

namespace shira::testing {

// Thread-safe.
class RecordingObserver : public GenerationObserver {
 public:
  // `on_token` is asked for the verdict; `on_end` is called with the last event.
  explicit RecordingObserver(std::function<Verdict(const GeneratedToken&)> on_token = nullptr,
                             std::function<void()> on_end = nullptr)
      : on_token_(std::move(on_token)), on_end_(std::move(on_end)) {}
  ~RecordingObserver() override = default;

  Verdict OnToken(const GeneratedToken& token) override {
    {
      absl::MutexLock lock(&mutex_);
      EXPECT_FALSE(ended_) << "a token after the last event";
      for (const ChoiceResult& end : choice_ends_) EXPECT_NE(end.choice, token.choice);
      tokens_.push_back(token);
    }
    return on_token_ ? on_token_(token) : Verdict::kContinue;
  }
  void OnChoiceEnd(const ChoiceResult& result) override {
    absl::MutexLock lock(&mutex_);
    EXPECT_FALSE(ended_);
    for (const ChoiceResult& other : choice_ends_) EXPECT_NE(other.choice, result.choice);
    choice_ends_.push_back(result);
  }
  void OnFinished(const GenerationResult& result) override {
    {
      absl::MutexLock lock(&mutex_);
      EXPECT_EQ(choice_ends_.size(), result.choices.size());
    }
    End([&]() ABSL_NO_THREAD_SAFETY_ANALYSIS { result_ = result; });
  }
  void OnFailed(const absl::Status& status) override {
    EXPECT_FALSE(status.ok());
    End([&]() ABSL_NO_THREAD_SAFETY_ANALYSIS { status_ = status; });
  }

  // Waits for the last event. A minute is for a machine under load; then the test fails.
  bool Wait() const {
    absl::MutexLock lock(&mutex_);
    const bool ended = mutex_.AwaitWithTimeout(absl::Condition(&ended_), absl::Minutes(1));
    EXPECT_TRUE(ended) << "the generation did not end";
    return ended;
  }
  bool WaitForTokens(size_t count) const {
    absl::MutexLock lock(&mutex_);
    const auto enough = [&]() ABSL_NO_THREAD_SAFETY_ANALYSIS {
      return ended_ || tokens_.size() >= count;
    };
    mutex_.AwaitWithTimeout(absl::Condition(&enough), absl::Minutes(1));
    return tokens_.size() >= count;
  }

  bool ended() const {
    absl::MutexLock lock(&mutex_);
    return ended_;
  }
  std::vector<int32_t> tokens(int32_t choice = 0) const {
    absl::MutexLock lock(&mutex_);
    std::vector<int32_t> ids;
    for (const GeneratedToken& token : tokens_) {
      if (token.choice == choice) ids.push_back(token.token);
    }
    return ids;
  }
  std::vector<GeneratedToken> generated() const {
    absl::MutexLock lock(&mutex_);
    return tokens_;
  }
  // Waits; nullopt when it failed.
  std::optional<GenerationResult> result() const {
    Wait();
    absl::MutexLock lock(&mutex_);
    return result_;
  }
  // Waits; OK when it finished.
  absl::Status status() const {
    Wait();
    absl::MutexLock lock(&mutex_);
    return status_;
  }

 private:
  void End(absl::FunctionRef<void()> set) {
    // Before the waiters: what the test sees at the last event is what the callback saw.
    if (on_end_) on_end_();
    absl::MutexLock lock(&mutex_);
    EXPECT_FALSE(ended_) << "two last events";
    set();
    ended_ = true;
  }

  const std::function<Verdict(const GeneratedToken&)> on_token_;
  const std::function<void()> on_end_;
  mutable absl::Mutex mutex_;
  std::vector<GeneratedToken> tokens_ ABSL_GUARDED_BY(mutex_);
  std::vector<ChoiceResult> choice_ends_ ABSL_GUARDED_BY(mutex_);
  std::optional<GenerationResult> result_ ABSL_GUARDED_BY(mutex_);
  absl::Status status_ ABSL_GUARDED_BY(mutex_);
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace shira::testing

#endif  // SHIRA_TESTS_TESTUTIL_RECORDING_OBSERVER_H_
