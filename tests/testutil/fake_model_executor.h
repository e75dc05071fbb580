// File: tests/testutil/fake_model_executor.h
//
// A model without a model: its next token is a hash over every token of the sequence and over the
// weights as they were in memory when that token was run. So a test can say what any request has to
// answer under any weights, and one token run under other weights changes all that follow.
//
// A row of another state than the resident one is run under the weights that patching would make.
//
// It also keeps a trace of the calls, and can be told to wait or to fail.

#ifndef SHIRA_TESTS_TESTUTIL_FAKE_MODEL_EXECUTOR_H_
#define SHIRA_TESTS_TESTUTIL_FAKE_MODEL_EXECUTOR_H_

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/types/span.h"
#include "server/executor/model_executor.h"
#include "server/executor/page_ledger.h"
#include "server/executor/paged_sequence.h"
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
    int64_t page_tokens = 1;
    // As KvGeometry has them. Only the memory is windowed: the next token depends on all before.
    std::vector<int64_t> windows = {0};
    int64_t chunk_tokens = 512;
    // The next token depends on so many last tokens alone; 0: on all. Then texts come to repeat
    // themselves, the sooner the fewer tokens there are to answer with.
    int64_t memory_tokens = 0;
    int32_t answer_tokens = kVocabSize;
    bool exact_rows = true;
  };

  // One row of a step.
  struct TracedRow {
    int64_t sequence;  // counted by NewSequence() and Fork(), from 0
    int64_t tokens;
    Fingerprint weights;
    bool patched;         // its state was not the resident one
    int64_t drafted = 0;  // of the tokens
  };
  using TracedStep = std::vector<TracedRow>;
  using Hook = std::function<absl::Status(absl::Span<const BatchRow>)>;

  // Reads `weights` in every step; they must outlive it.
  FakeModelExecutor(PlainWeights& weights, Options options)
      : weights_(weights),
        options_(options),
        ledger_(std::make_shared<PageLedger>(
            KvGeometry{.page_tokens = options.page_tokens,
                       .page_bytes = options.page_tokens,
                       .pages = options.kv_budget_tokens / options.page_tokens,
                       .chunk_tokens = options.chunk_tokens,
                       .block_tokens = options.page_tokens,
                       .windows = options.windows})) {}
  ~FakeModelExecutor() override { EXPECT_EQ(ledger_->used_bytes(), 0) << "KV memory was leaked"; }

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
  // The next call of NewSequence() or Fork() fails with this.
  void FailNextSequence(absl::Status status) {
    absl::MutexLock lock(&mutex_);
    next_sequence_status_ = std::move(status);
  }
  // From now on one logit of this sequence is `value`.
  void SpoilLogits(int64_t sequence, float value) {
    absl::MutexLock lock(&mutex_);
    spoilt_ = {sequence, value};
  }
  // Begins the trace anew, with sequence 0.
  void ForgetTrace() {
    absl::MutexLock lock(&mutex_);
    next_sequence_ = 0;
    trace_.clear();
    capacities_.clear();
  }
  std::vector<TracedStep> trace() const {
    absl::MutexLock lock(&mutex_);
    return trace_;
  }
  // How many tokens each call of NewSequence() and Fork() that was granted asked for.
  std::vector<int64_t> capacities() const {
    absl::MutexLock lock(&mutex_);
    return capacities_;
  }

  WeightMemory& weights() override { return weights_.memory(); }

  absl::StatusOr<std::unique_ptr<SequenceCache>> NewSequence(const SequenceRoom& room) override {
    EXPECT_GT(room.tokens, 0);
    return MakeCache(nullptr, 0, room);
  }

  absl::StatusOr<std::unique_ptr<SequenceCache>> Fork(SequenceCache& source, int64_t tokens,
                                                      const SequenceRoom& room) override {
    EXPECT_TRUE(source.can_fork(tokens)) << tokens;
    EXPECT_GE(room.tokens, tokens);
    return MakeCache(&static_cast<Cache&>(source), tokens, room);
  }

  absl::StatusOr<absl::Span<const float>> Forward(const CompiledState& resident,
                                                  absl::Span<const BatchRow> rows) override {
    std::shared_ptr<Hook> hook;
    {
      absl::MutexLock lock(&mutex_);
      hook = forward_hook_;
    }
    const auto spoilt = [&](int64_t sequence) -> std::optional<float> {
      absl::MutexLock lock(&mutex_);
      return spoilt_.has_value() && spoilt_->first == sequence ? std::optional(spoilt_->second)
                                                               : std::nullopt;
    };
    if (hook != nullptr) {
      if (absl::Status status = (*hook)(rows); !status.ok()) return status;
    }
    EXPECT_FALSE(rows.empty());
    std::set<const SequenceCache*> seen;
    TracedStep step;
    logits_.clear();
    for (const BatchRow& row : rows) {
      auto& cache = static_cast<Cache&>(*row.cache);
      EXPECT_TRUE(seen.insert(&cache).second) << "a cache occurs twice";
      EXPECT_FALSE(row.tokens.empty());
      const auto tokens = static_cast<int64_t>(row.tokens.size());
      EXPECT_LE(tokens, cache.room());
      cache.Begin(tokens);
      const Fingerprint weights = FingerprintUnder(resident, *row.state);
      EXPECT_TRUE(row.drafted >= 0 && row.drafted < tokens) << row.drafted;
      EXPECT_TRUE(row.drafted == 0 || row.wants_logits);
      std::vector<Fingerprint> stored = cache.stored_;
      for (int64_t i = 0; i < tokens; ++i) {
        const int32_t token = row.tokens[i];
        EXPECT_TRUE(token >= 0 && token < kVocabSize) << token;
        stored.push_back(Store(stored, token, weights));
        if (i < tokens - row.logits()) continue;
        logits_.resize(logits_.size() + kVocabSize, 0.0f);
        logits_[logits_.size() - kVocabSize + Next(stored)] = 1.0f;
        if (const std::optional<float> value = spoilt(cache.number_)) logits_.back() = *value;
      }
      const auto kept = stored.end() - row.drafted;
      cache.drafted_.assign(kept, stored.end());
      cache.stored_.assign(stored.begin(), kept);
      cache.Extend(tokens - row.drafted);
      step.push_back(
          {cache.number_, tokens, weights, !(row.state->key == resident.key), row.drafted});
    }
    absl::MutexLock lock(&mutex_);
    trace_.push_back(std::move(step));
    return absl::MakeConstSpan(logits_);
  }

  int32_t vocab_size() const override { return kVocabSize; }
  int64_t context_length() const override { return options_.context_length; }
  const KvGeometry& kv_geometry() const override { return ledger_->geometry(); }
  bool mixes_states() const override { return true; }
  bool has_exact_rows() const override { return options_.exact_rows; }
  int64_t kv_budget_bytes() const override { return options_.kv_budget_tokens; }
  int64_t kv_used_bytes() const override { return ledger_->used_bytes(); }

 private:
  class Cache : public PagedSequence {
   public:
    Cache(const std::shared_ptr<PageLedger>& ledger, const SequenceRoom& room, int64_t number)
        : PagedSequence(ledger, room), number_(number) {}
    void Accept(int64_t tokens) override {
      EXPECT_TRUE(tokens >= 0 && tokens <= static_cast<int64_t>(drafted_.size())) << tokens;
      stored_.insert(stored_.end(), drafted_.begin(), drafted_.begin() + tokens);
      drafted_.clear();
      PagedSequence::Accept(tokens);
    }

    const int64_t number_;
    std::vector<Fingerprint> stored_;   // of each token: what Store() gave
    std::vector<Fingerprint> drafted_;  // the same, of the last pass
  };

  // Begins with the first `tokens` of `source`, unless that is null.
  absl::StatusOr<std::unique_ptr<SequenceCache>> MakeCache(Cache* source, int64_t tokens,
                                                           const SequenceRoom& room) {
    absl::MutexLock lock(&mutex_);
    if (absl::Status status = std::exchange(next_sequence_status_, absl::OkStatus());
        !status.ok()) {
      return status;
    }
    auto cache = std::make_unique<Cache>(ledger_, room, next_sequence_);
    const absl::Status status =
        source == nullptr ? cache->Reserve() : source->ForkInto(tokens, *cache);
    if (!status.ok()) return status;
    if (source != nullptr) {
      cache->stored_.assign(source->stored_.begin(), source->stored_.begin() + tokens);
    }
    ++next_sequence_;
    capacities_.push_back(room.tokens);
    return cache;
  }

  // Of the weights in memory, taken from `resident` to `state`.
  Fingerprint FingerprintUnder(const CompiledState& resident, const CompiledState& state) const {
    std::vector<std::vector<std::byte>> weights = weights_.data();
    const size_t size = DTypeSize(weights_.dtype());
    const auto write = [&](const CompiledParameter& parameter, const ElementBuffer& values) {
      parameter.table->ForEach([&](uint32_t entry, int64_t position) {
        std::memcpy(weights[parameter.parameter].data() + position * size,
                    values.data() + entry * size, size);
      });
    };
    if (!(state.key == resident.key)) {
      for (const CompiledParameter& p : resident.parameters) write(p, *p.originals);
      for (const CompiledParameter& p : state.parameters) write(p, p.fused);
    }
    return FingerprintOf(weights);
  }

  static Fingerprint Append(Fingerprint history, int32_t token, Fingerprint weights) {
    return Mix(Mix(history, weights), token);
  }

  // What a cache stores of a token behind those that it has: the history up to it, or where memory is
  // short the token itself, with its weights.
  Fingerprint Store(const std::vector<Fingerprint>& stored, int32_t token,
                    Fingerprint weights) const {
    const bool is_short = options_.memory_tokens > 0;
    return Append(is_short || stored.empty() ? 0 : stored.back(), token, weights);
  }
  int32_t Next(const std::vector<Fingerprint>& stored) const {
    if (options_.memory_tokens == 0) return static_cast<int32_t>(stored.back() % kVocabSize);
    const auto length = static_cast<int64_t>(stored.size());
    Fingerprint history = 0;
    for (int64_t i = std::max<int64_t>(length - options_.memory_tokens, 0); i < length; ++i) {
      history = Mix(history, stored[i]);
    }
    return static_cast<int32_t>(history % options_.answer_tokens);
  }

  PlainWeights& weights_;
  const Options options_;
  const std::shared_ptr<PageLedger> ledger_;
  std::vector<float> logits_;
  mutable absl::Mutex mutex_;
  std::shared_ptr<Hook> forward_hook_ ABSL_GUARDED_BY(mutex_);
  std::optional<std::pair<int64_t, float>> spoilt_ ABSL_GUARDED_BY(mutex_);
  absl::Status next_sequence_status_ ABSL_GUARDED_BY(mutex_);
  int64_t next_sequence_ ABSL_GUARDED_BY(mutex_) = 0;
  std::vector<TracedStep> trace_ ABSL_GUARDED_BY(mutex_);
  std::vector<int64_t> capacities_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace shira::testing

#endif  // SHIRA_TESTS_TESTUTIL_FAKE_MODEL_EXECUTOR_H_
