// File: tests/testutil/fake_model_executor.h
//
// A model without a model: its next token is a hash over every token of the sequence and over the
// weights as they were in memory when that token was run. So a test can say what any request has to
// answer under any weights, and one token run under other weights changes all that follow.
//
// It also keeps a trace of the calls, and can be told to wait or to fail.

#ifndef SHIRA_TESTS_TESTUTIL_FAKE_MODEL_EXECUTOR_H_
#define SHIRA_TESTS_TESTUTIL_FAKE_MODEL_EXECUTOR_H_

#include <gtest/gtest.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <set>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/types/span.h"
#include "server/engine/model_executor.h"
#include "tests/testutil/plain_weights.h"

namespace shira::testing {

using Fingerprint = uint64_t;

inline Fingerprint Mix(Fingerprint seed, uint64_t value) {
  seed ^= value + 0x9e3779b97f4a7c15 + (seed << 12) + (seed >> 4);
  return seed * 0xff51afd7ed558ccd ^ (seed >> 32);
}

inline Fingerprint FingerprintOf(const std::vector<std::vector<std::byte>>& weights) {
  Fingerprint fingerprint = 1;
  for (const auto& bytes : weights) {
    for (const std::byte byte : bytes) fingerprint = Mix(fingerprint, std::to_integer<int>(byte));
  }
  return fingerprint;
}

class FakeModelExecutor : public ModelExecutor {
 public:
  static constexpr int32_t kVocabSize = 97;

  struct Options {
    int64_t context_length = 64;
    int64_t kv_budget_tokens = 1000;
  };

  // One row of a step.
  struct TracedRow {
    int64_t sequence;  // counted by NewSequence(), from 0
    int64_t tokens;
    Fingerprint weights;
  };
  using TracedStep = std::vector<TracedRow>;
  using Hook = std::function<absl::Status(absl::Span<const BatchRow>)>;

  // Reads `weights` in every step; they must outlive it.
  FakeModelExecutor(const PlainWeights& weights, Options options)
      : weights_(weights), options_(options) {}
  ~FakeModelExecutor() override { EXPECT_EQ(used_tokens_, 0) << "KV memory was leaked"; }

  // What a request has to answer under weights of that fingerprint, greedily.
  static std::vector<int32_t> Expected(Fingerprint weights, const std::vector<int32_t>& prompt,
                                       int64_t count) {
    Fingerprint history = 0;
    for (const int32_t token : prompt) history = Append(history, token, weights);
    std::vector<int32_t> tokens;
    while (static_cast<int64_t>(tokens.size()) < count) {
      tokens.push_back(static_cast<int32_t>(history % kVocabSize));
      history = Append(history, tokens.back(), weights);
    }
    return tokens;
  }

  // Called at the start of every Forward() on the engine's thread; may block; an error is what
  // Forward() returns.
  void SetForwardHook(Hook hook) {
    absl::MutexLock lock(&mutex_);
    forward_hook_ = std::make_shared<Hook>(std::move(hook));
  }
  // The next call of NewSequence() fails with this.
  void FailNextSequence(absl::Status status) {
    absl::MutexLock lock(&mutex_);
    next_sequence_status_ = std::move(status);
  }
  std::vector<TracedStep> trace() const {
    absl::MutexLock lock(&mutex_);
    return trace_;
  }
  // How many tokens each call of NewSequence() that was granted asked for.
  std::vector<int64_t> capacities() const {
    absl::MutexLock lock(&mutex_);
    return capacities_;
  }

  absl::StatusOr<std::unique_ptr<SequenceCache>> NewSequence(int64_t tokens) override {
    absl::MutexLock lock(&mutex_);
    if (absl::Status status = std::exchange(next_sequence_status_, absl::OkStatus());
        !status.ok()) {
      return status;
    }
    if (used_tokens_ + tokens > options_.kv_budget_tokens) {
      return absl::ResourceExhaustedError("no KV memory");
    }
    capacities_.push_back(tokens);
    return std::make_unique<Cache>(used_tokens_, next_sequence_++, tokens);
  }

  absl::StatusOr<absl::Span<const float>> Forward(absl::Span<const BatchRow> rows) override {
    std::shared_ptr<Hook> hook;
    {
      absl::MutexLock lock(&mutex_);
      hook = forward_hook_;
    }
    if (hook != nullptr) {
      if (absl::Status status = (*hook)(rows); !status.ok()) return status;
    }
    EXPECT_FALSE(rows.empty());
    const Fingerprint weights = FingerprintOf(weights_.data());
    std::set<const SequenceCache*> seen;
    TracedStep step;
    logits_.clear();
    for (const BatchRow& row : rows) {
      auto& cache = static_cast<Cache&>(*row.cache);
      EXPECT_TRUE(seen.insert(&cache).second) << "a cache occurs twice";
      EXPECT_FALSE(row.tokens.empty());
      EXPECT_LE(cache.length_ + static_cast<int64_t>(row.tokens.size()), cache.capacity_);
      for (const int32_t token : row.tokens) {
        EXPECT_TRUE(token >= 0 && token < kVocabSize) << token;
        cache.history_ = Append(cache.history_, token, weights);
        ++cache.length_;
      }
      if (row.wants_logits) {
        logits_.resize(logits_.size() + kVocabSize, 0.0f);
        logits_[logits_.size() - kVocabSize + cache.history_ % kVocabSize] = 1.0f;
      }
      step.push_back({cache.number_, static_cast<int64_t>(row.tokens.size()), weights});
    }
    absl::MutexLock lock(&mutex_);
    trace_.push_back(std::move(step));
    return absl::MakeConstSpan(logits_);
  }

  int32_t vocab_size() const override { return kVocabSize; }
  int64_t context_length() const override { return options_.context_length; }
  int64_t kv_budget_bytes() const override { return options_.kv_budget_tokens; }
  int64_t kv_used_bytes() const override { return used_tokens_; }

 private:
  class Cache : public SequenceCache {
   public:
    Cache(std::atomic<int64_t>& used_tokens, int64_t number, int64_t capacity)
        : used_tokens_(used_tokens), number_(number), capacity_(capacity) {
      used_tokens_ += capacity_;
    }
    ~Cache() override { used_tokens_ -= capacity_; }
    int64_t length() const override { return length_; }
    int64_t capacity() const override { return capacity_; }

    std::atomic<int64_t>& used_tokens_;
    const int64_t number_;
    const int64_t capacity_;
    int64_t length_ = 0;
    Fingerprint history_ = 0;
  };

  static Fingerprint Append(Fingerprint history, int32_t token, Fingerprint weights) {
    return Mix(Mix(history, weights), token);
  }

  const PlainWeights& weights_;
  const Options options_;
  std::atomic<int64_t> used_tokens_{0};
  std::vector<float> logits_;
  mutable absl::Mutex mutex_;
  std::shared_ptr<Hook> forward_hook_ ABSL_GUARDED_BY(mutex_);
  absl::Status next_sequence_status_ ABSL_GUARDED_BY(mutex_);
  int64_t next_sequence_ ABSL_GUARDED_BY(mutex_) = 0;
  std::vector<TracedStep> trace_ ABSL_GUARDED_BY(mutex_);
  std::vector<int64_t> capacities_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace shira::testing

#endif  // SHIRA_TESTS_TESTUTIL_FAKE_MODEL_EXECUTOR_H_
