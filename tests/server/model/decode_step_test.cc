#include "server/model/decode_step.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "server/model/decoder.h"
#include "server/model/kv_cache.h"
#include "server/model/resident_weights.h"
#include "tests/testutil/plain_weights.h"

namespace shira {
namespace {

// Sizes that fill no vector evenly.
ModelConfig TinyConfig() {
  ModelConfig config;
  config.architecture = "llama";
  config.hidden_size = 44;
  config.num_layers = 2;
  config.num_heads = 6;
  config.num_kv_heads = 2;
  config.head_dim = 10;
  config.intermediate_size = 70;
  config.vocab_size = 301;
  config.max_position = 4096;
  config.attention_bias = true;
  config.mlp_bias = true;
  return config;
}

class DecodeStepTest : public ::testing::TestWithParam<DType> {
 protected:
  DecodeStepTest() : threads_(at::get_num_threads()) {
    weights_ = ResidentWeights::Allocate(TinyConfig(), GetParam()).value();
    std::mt19937 random(3);
    std::normal_distribution<float> normal(0.0f, 0.3f);
    for (const ModelConfig::Parameter& parameter : TinyConfig().Parameters()) {
      const ResidentWeights::Matrix matrix = weights_->Find(parameter.name);
      for (int64_t i = 0; i < matrix.rows * matrix.cols; ++i) {
        testing::StoreElement(GetParam(), normal(random), i, matrix.data);
      }
    }
    decoder_ = std::make_unique<Decoder>(*weights_);
  }
  ~DecodeStepTest() override { at::set_num_threads(threads_); }

  std::unique_ptr<KvCache> NewCache(int64_t tokens) const {
    return KvCache::Create(TinyConfig(), GetParam(), tokens, budget_).value();
  }

  // Sequence s's tokens: no two sequences are alike.
  static std::vector<int32_t> Tokens(int64_t sequence, int64_t count) {
    std::mt19937 random(static_cast<uint32_t>(100 + sequence));
    std::vector<int32_t> tokens;
    for (int64_t i = 0; i < count; ++i) tokens.push_back(static_cast<int32_t>(random() % 301));
    return tokens;
  }

  // Feeds sequences token by token, together; the logits of every step: [steps][row, vocab].
  std::vector<at::Tensor> Decode(const std::vector<int64_t>& sequences, int64_t steps) {
    std::vector<std::unique_ptr<KvCache>> caches;
    std::vector<std::vector<int32_t>> tokens;
    for (const int64_t sequence : sequences) {
      caches.push_back(NewCache(steps));
      tokens.push_back(Tokens(sequence, steps));
    }
    std::vector<at::Tensor> logits;
    for (int64_t step = 0; step < steps; ++step) {
      std::vector<DecoderRow> rows;
      for (size_t i = 0; i < sequences.size(); ++i) {
        rows.push_back({.cache = caches[i].get(),
                        .tokens = absl::MakeConstSpan(&tokens[i][step], 1),
                        .wants_logits = true});
      }
      logits.push_back(decoder_->Forward(rows).clone());
    }
    return logits;
  }

  const int threads_;
  const std::shared_ptr<KvBudget> budget_ = std::make_shared<KvBudget>(int64_t{1} << 30);
  std::unique_ptr<ResidentWeights> weights_;
  std::unique_ptr<Decoder> decoder_;
};

TEST_P(DecodeStepTest, ASequencesLogitsAreTheSameAloneAndAmongUpTo15Others) {
  constexpr int64_t kSteps = 12;
  std::vector<std::vector<at::Tensor>> alone;
  for (int64_t sequence = 0; sequence < kMaxDecodeRows; ++sequence) {
    alone.push_back(Decode({sequence}, kSteps));
  }
  for (int64_t count = 2; count <= kMaxDecodeRows; ++count) {
    std::vector<int64_t> sequences;
    for (int64_t i = 0; i < count; ++i) sequences.push_back((3 * count + i) % kMaxDecodeRows);
    const std::vector<at::Tensor> together = Decode(sequences, kSteps);
    for (int64_t step = 0; step < kSteps; ++step) {
      for (int64_t i = 0; i < count; ++i) {
        ASSERT_TRUE(at::equal(together[step][i], alone[sequences[i]][step][0]))
            << "place " << i << " of " << count << ", step " << step;
      }
    }
  }
}

TEST_P(DecodeStepTest, LogitsDoNotDependOnTheNumberOfThreads) {
  // Long enough for attention to use threads.
  constexpr int64_t kSteps = 300;
  at::set_num_threads(1);
  const std::vector<at::Tensor> expected = Decode({0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}, kSteps);
  for (const int threads : {2, 3}) {
    at::set_num_threads(threads);
    const std::vector<at::Tensor> found = Decode({0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}, kSteps);
    for (int64_t step = 0; step < kSteps; ++step) {
      ASSERT_TRUE(at::equal(found[step], expected[step])) << threads << " threads, step " << step;
    }
  }
}

// LibTorch's operators, which take prompts, are the other implementation of the same pass.
TEST_P(DecodeStepTest, EqualsAPassOfTheWholePromptThroughLibTorch) {
  constexpr int64_t kSteps = 90;
  const at::Tensor last = Decode({5, 6}, kSteps).back();
  for (const int64_t sequence : {5, 6}) {
    const std::vector<int32_t> tokens = Tokens(sequence, kSteps);
    const std::unique_ptr<KvCache> cache = NewCache(kSteps);
    const DecoderRow row = {.cache = cache.get(), .tokens = tokens, .wants_logits = true};
    const at::Tensor expected = decoder_->Forward({row});
    const double size = expected.abs().max().item<double>();
    const double difference = (last[sequence - 5] - expected[0]).abs().max().item<double>();
    const double steps = GetParam() == DType::kF32   ? 0x1p-18
                         : GetParam() == DType::kF16 ? 0x1p-7
                                                     : 0x1p-4;
    EXPECT_LT(difference, size * steps) << "of logits up to " << size;
  }
}

TEST_P(DecodeStepTest, OnlyRowsThatWantLogitsGetThem) {
  const std::unique_ptr<KvCache> first = NewCache(2), second = NewCache(2), third = NewCache(2);
  const std::vector<int32_t> tokens = {7, 8, 9};
  const at::Tensor all = decoder_
                             ->Forward({{first.get(), absl::MakeConstSpan(&tokens[0], 1), true},
                                        {second.get(), absl::MakeConstSpan(&tokens[1], 1), true},
                                        {third.get(), absl::MakeConstSpan(&tokens[2], 1), true}})
                             .clone();
  const std::unique_ptr<KvCache> other_first = NewCache(2), other_second = NewCache(2);
  const at::Tensor some =
      decoder_->Forward({{other_first.get(), absl::MakeConstSpan(&tokens[0], 1), false},
                         {other_second.get(), absl::MakeConstSpan(&tokens[1], 1), true}});
  ASSERT_EQ(some.size(0), 1);
  EXPECT_TRUE(at::equal(some[0], all[1]));
  EXPECT_EQ(other_first->length(), 1);
  EXPECT_EQ(other_second->length(), 1);
}

std::string DTypeTestName(const ::testing::TestParamInfo<DType>& info) {
  return std::string(DTypeName(info.param));
}
INSTANTIATE_TEST_SUITE_P(All, DecodeStepTest,
                         ::testing::Values(DType::kF32, DType::kBF16, DType::kF16), DTypeTestName);

}  // namespace
}  // namespace shira
