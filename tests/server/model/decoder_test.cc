#include "server/model/decoder.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>

#include "base/strings.h"
#include "tests/server/model/decoder_fixture.h"

namespace shira {
namespace {

// The longest sequence: several pages, blocks, tiles and pieces of attention.
constexpr int64_t kLength = 300;

class DecoderTest : public ::testing::TestWithParam<TinyModel> {
 protected:
  DecoderTest()
      : weights_(RandomWeights(GetParam().config(), GetParam().dtype)),
        pool_(MakePool(GetParam().config(), GetParam().dtype)),
        team_(2),
        decoder_(std::make_unique<Decoder>(*weights_, team_.parallel_for())) {}

  // A sequence that is fed its tokens a part at a time.
  struct Fed {
    std::vector<int32_t> tokens;
    std::unique_ptr<KvCache> cache;
    Logits logits;  // after the last part

    bool done() const { return cache->length() == static_cast<int64_t>(tokens.size()); }
  };
  Fed NewFed(int64_t sequence, int64_t count) const {
    return {.tokens = TokensOf(sequence, count),
            .cache = KvCache::Create(pool_, {.tokens = count}).value(),
            .logits = {}};
  }

  // One pass that feeds each sequence that is not done up to `chunks[i]` more tokens.
  void Step(std::vector<Fed>& sequences, const std::vector<int64_t>& chunks) {
    std::vector<BatchRow> rows;
    std::vector<Fed*> fed;
    for (size_t i = 0; i < sequences.size(); ++i) {
      if (sequences[i].done()) continue;
      rows.push_back({.cache = sequences[i].cache.get(),
                      .tokens = absl::MakeConstSpan(sequences[i].tokens)
                                    .subspan(sequences[i].cache->length(), chunks[i]),
                      .wants_logits = true,
                      .state = &base_});
      fed.push_back(&sequences[i]);
    }
    const auto logits = SplitLogits(decoder_->Forward(base_, rows), weights_->config().vocab_size);
    ASSERT_EQ(logits.size(), fed.size());
    for (size_t i = 0; i < fed.size(); ++i) fed[i]->logits = logits[i];
  }

  // Feeds them all, together, until each is done.
  void Feed(std::vector<Fed>& sequences, const std::vector<int64_t>& chunks) {
    while (
        !std::all_of(sequences.begin(), sequences.end(), [](const Fed& f) { return f.done(); })) {
      ASSERT_NO_FATAL_FAILURE(Step(sequences, chunks));
    }
  }
  Fed FeedAlone(int64_t sequence, int64_t count, int64_t chunk) {
    std::vector<Fed> alone;
    alone.push_back(NewFed(sequence, count));
    Feed(alone, {chunk});
    return std::move(alone[0]);
  }

  // Logits, and keys and values of every full page that both still have, bit for bit.
  static void ExpectSame(const Fed& found, const Fed& expected, const KvPagePool& pool) {
    ASSERT_EQ(found.logits, expected.logits);
    const KvGeometry& kv = pool.geometry();
    const int64_t length = found.cache->length();
    for (int64_t group = 0; group < kv.groups(); ++group) {
      for (int64_t i = kv.FirstKept(group, length); i < length / kPageTokens; ++i) {
        ASSERT_EQ(std::memcmp(found.cache->addresses(group)[i], expected.cache->addresses(group)[i],
                              kv.page_bytes),
                  0)
            << "page " << i << " of group " << group;
      }
    }
  }

  const CompiledState base_;
  const std::unique_ptr<ResidentWeights> weights_;
  const std::shared_ptr<KvPagePool> pool_;
  ThreadTeam team_;
  std::unique_ptr<Decoder> decoder_;
};

TEST_P(DecoderTest, BitsDoNotDependOnHowAPromptIsCut) {
  const Fed whole = FeedAlone(0, kLength, kLength);
  EXPECT_TRUE(
      std::any_of(whole.logits.begin(), whole.logits.end(), [](float x) { return x > 0.1f; }));
  for (const int64_t chunk : {1, 2, 5, 16, 31, 32, 33, 64, 100, 299}) {
    SCOPED_TRACE(chunk);
    ASSERT_NO_FATAL_FAILURE(ExpectSame(FeedAlone(0, kLength, chunk), whole, *pool_));
  }
}

TEST_P(DecoderTest, BitsOfUpTo16DecodingRowsDoNotDependOnEachOtherOrOnPromptsBesideThem) {
  constexpr int64_t kSequences = 16;
  std::vector<Fed> alone;
  // Lengths differ, so that rows leave while others go on.
  for (int64_t i = 0; i < kSequences + 2; ++i) alone.push_back(FeedAlone(i, 20 + 5 * i, 1));
  for (int64_t count = 1; count <= kSequences; ++count) {
    std::vector<Fed> together;
    std::vector<int64_t> order, chunks;
    for (int64_t i = 0; i < count; ++i) order.push_back((3 * count + i) % kSequences);
    for (int64_t i = 0; i < count % 3; ++i) order.push_back(kSequences + i);
    for (const int64_t sequence : order) {
      together.push_back(NewFed(sequence, 20 + 5 * sequence));
      chunks.push_back(sequence < kSequences ? 1 : 13 + 30 * (count % 2));
    }
    ASSERT_NO_FATAL_FAILURE(Feed(together, chunks));
    for (size_t i = 0; i < order.size(); ++i) {
      SCOPED_TRACE(::testing::Message() << "place " << i << " of " << order.size());
      ASSERT_NO_FATAL_FAILURE(ExpectSame(together[i], alone[order[i]], *pool_));
    }
  }
}

TEST_P(DecoderTest, BitsDoNotDependOnTheNumberOfThreads) {
  const std::vector<int64_t> chunks = {1, 40, 300, 1, 7};
  std::vector<std::vector<Fed>> by_threads;
  for (const int threads : {1, 2, 3}) {
    ThreadTeam team(threads);
    decoder_ = std::make_unique<Decoder>(*weights_, team.parallel_for());
    std::vector<Fed>& sequences = by_threads.emplace_back();
    for (int64_t i = 0; i < 5; ++i) sequences.push_back(NewFed(i, kLength - 40 * i));
    ASSERT_NO_FATAL_FAILURE(Feed(sequences, chunks));
  }
  for (size_t i = 0; i < 5; ++i) {
    SCOPED_TRACE(i);
    ASSERT_NO_FATAL_FAILURE(ExpectSame(by_threads[1][i], by_threads[0][i], *pool_));
    ASSERT_NO_FATAL_FAILURE(ExpectSame(by_threads[2][i], by_threads[0][i], *pool_));
  }
}

TEST_P(DecoderTest, ABatchBeyondTheBuffersIsCutAndGivesTheSameBits) {
  const Fed first = FeedAlone(0, kLength, kLength);
  const Fed second = FeedAlone(1, 50, 50);
  for (const int64_t slice_tokens : {1, 3, 64, 349}) {
    SCOPED_TRACE(slice_tokens);
    decoder_ = std::make_unique<Decoder>(*weights_, team_.parallel_for(), slice_tokens);
    std::vector<Fed> both;
    both.push_back(NewFed(0, kLength));
    both.push_back(NewFed(1, 50));
    ASSERT_NO_FATAL_FAILURE(Feed(both, {kLength, 50}));
    ASSERT_NO_FATAL_FAILURE(ExpectSame(both[0], first, *pool_));
    ASSERT_NO_FATAL_FAILURE(ExpectSame(both[1], second, *pool_));
  }
}

TEST_P(DecoderTest, AForkGoesOnAsItsSourceWouldHave) {
  const Fed source = FeedAlone(0, 100, 100);
  for (const int64_t kept : {1, 31, 32, 33, 64, 99}) {
    SCOPED_TRACE(kept);
    std::vector<Fed> fork(1);
    fork[0].tokens = source.tokens;
    fork[0].cache = source.cache->Fork(kept, {.tokens = 100}).value();
    ASSERT_NO_FATAL_FAILURE(Feed(fork, {17}));
    ASSERT_NO_FATAL_FAILURE(ExpectSame(fork[0], source, *pool_));
  }
}

TEST_P(DecoderTest, OnlyRowsThatWantLogitsGetThem) {
  std::vector<Fed> sequences;
  for (int64_t i = 0; i < 3; ++i) sequences.push_back(NewFed(i, 2));
  std::vector<BatchRow> rows;
  for (Fed& fed : sequences) rows.push_back({fed.cache.get(), fed.tokens, true, &base_});
  rows[0].wants_logits = false;
  const auto logits = SplitLogits(decoder_->Forward(base_, rows), 301);
  ASSERT_EQ(logits.size(), 2u);
  EXPECT_EQ(logits[0], FeedAlone(1, 2, 2).logits);
  EXPECT_EQ(logits[1], FeedAlone(2, 2, 2).logits);
  for (const Fed& fed : sequences) EXPECT_EQ(fed.cache->length(), 2);
}

INSTANTIATE_TEST_SUITE_P(
    All, DecoderTest,
    ::testing::Values(TinyModel{DType::kF32}, TinyModel{DType::kBF16}, TinyModel{DType::kF16},
                      TinyModel{DType::kF32, kTinyMixed}, TinyModel{DType::kBF16, kTinyMixed},
                      TinyModel{DType::kF32, kTinyGemma}, TinyModel{DType::kBF16, kTinyGemma},
                      TinyModel{DType::kF32, kTinyStableLm}, TinyModel{DType::kBF16, kTinyStableLm},
                      TinyModel{DType::kF32, kTinyMixture}, TinyModel{DType::kBF16, kTinyMixture},
                      TinyModel{DType::kF16, kTinyMixture}, TinyModel{DType::kF32, kTinyGptOss},
                      TinyModel{DType::kBF16, kTinyGptOss}),
    TinyModelName);

// What is in an expert's weights is seen by the tokens that use it alone: others do not even read it.
TEST(DecoderMixtureTest, ATokenReadsTheExpertsThatItUsesAlone) {
  const ModelConfig config = TinyMixtureConfig();
  const CompiledState base;
  ThreadTeam team(2);
  const auto is_touched = [&](int64_t layer, int64_t expert, const char* matrix) {
    const std::unique_ptr<ResidentWeights> weights = RandomWeights(config, DType::kF32);
    const std::string name = StrCat("model.layers.", layer, ".mlp.experts.", expert, ".", matrix);
    for (const ResidentParameter& parameter : weights->parameters()) {
      if (parameter.name != name) continue;
      auto* values = reinterpret_cast<float*>(parameter.data);
      std::fill_n(values, parameter.elements(), std::numeric_limits<float>::quiet_NaN());
    }
    Decoder decoder(*weights, team.parallel_for());
    const auto cache = KvCache::Create(MakePool(config, DType::kF32), {.tokens = 1}).value();
    const std::vector<int32_t> tokens = TokensOf(0, 1);
    const std::vector<BatchRow> rows = {{cache.get(), tokens, true, &base}};
    const absl::Span<const float> logits = decoder.Forward(base, rows);
    return std::any_of(logits.begin(), logits.end(), [](float x) { return std::isnan(x); });
  };
  for (const char* matrix : {"gate_proj.weight", "up_proj.weight", "down_proj.weight"}) {
    for (const int64_t layer : {0, 2}) {
      int64_t touched = 0;
      for (int64_t expert = 0; expert < config.mixture.experts; ++expert) {
        touched += is_touched(layer, expert, matrix) ? 1 : 0;
      }
      EXPECT_EQ(touched, config.mixture.experts_per_token) << matrix << " of layer " << layer;
    }
  }
}

}  // namespace
}  // namespace shira
