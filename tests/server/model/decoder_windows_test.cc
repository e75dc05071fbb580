// Sequences that give back what their windows have passed, beside the same ones with all of it kept:
// whatever the windows, the chunks and the forks, their logits are the same bit for bit, although
// what was given back has been written by others meanwhile.

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "tests/server/model/decoder_fixture.h"

namespace shira {
namespace {

constexpr int64_t kLongest = 420;
constexpr int64_t kChunk = 70;

struct Case {
  DType dtype;
  uint32_t seed;
};

class DecoderWindowsTest : public ::testing::TestWithParam<Case> {
 protected:
  static ModelConfig RandomConfig(std::mt19937& random) {
    ModelConfig config = random() % 2 == 0 ? TinyDecoderConfig() : TinyMixedConfig();
    const int64_t windows[] = {0, static_cast<int64_t>(1 + random() % 40),
                               static_cast<int64_t>(30 + random() % 120)};
    config.num_layers = static_cast<int64_t>(2 + random() % 3);
    config.layers.assign(config.num_layers, LayerSpec());
    for (LayerSpec& layer : config.layers) layer.window = windows[random() % 3];
    config.layers[random() % config.num_layers].window = windows[1];
    return config;
  }
  static KvGeometry Geometry(const ModelConfig& config, DType dtype) {
    return KvGeometryOf(GroupLayers(config), AttentionShapeOf(config, dtype), kChunk);
  }

  DecoderWindowsTest()
      : random_(GetParam().seed),
        config_(RandomConfig(random_)),
        weights_(RandomWeights(config_, GetParam().dtype)),
        team_(2),
        decoder_(*weights_, team_.parallel_for(), /*slice_tokens=*/50) {
    KvGeometry geometry = Geometry(config_, GetParam().dtype);
    // So little that what one gives back another one takes.
    const int64_t pages = 3 * geometry.PagesOf({.tokens = kLongest}, 0);
    geometry.page_bytes = (geometry.page_bytes + 4095) / 4096 * 4096;
    windowed_ = KvPagePool::Create(geometry, pages * geometry.page_bytes).value();
    std::fill(geometry.windows.begin(), geometry.windows.end(), 0);
    whole_ = KvPagePool::Create(geometry, int64_t{1} << 26).value();
  }

  // One sequence twice: as the server has it, and with everything kept.
  struct Pair {
    std::vector<int32_t> tokens;
    std::unique_ptr<KvCache> windowed;
    std::unique_ptr<KvCache> whole;

    bool done() const { return windowed->length() == static_cast<int64_t>(tokens.size()); }
  };

  int64_t Below(int64_t end) { return static_cast<int64_t>(random_() % end); }
  void Append(Pair& pair, int64_t count) {
    while (count-- > 0) pair.tokens.push_back(static_cast<int32_t>(random_() % 301));
  }

  // A pass of the next tokens of each pair that is not done.
  void Step(std::vector<Pair>& pairs) {
    std::vector<BatchRow> windowed, whole;
    for (Pair& pair : pairs) {
      if (pair.done()) continue;
      const int64_t length = pair.windowed->length();
      const int64_t left = static_cast<int64_t>(pair.tokens.size()) - length;
      const int64_t most = Below(3) == 0 ? 1 : std::min(pair.windowed->room(), 1 + Below(120));
      const auto tokens = absl::MakeConstSpan(pair.tokens).subspan(length, std::min(left, most));
      windowed.push_back({pair.windowed.get(), tokens, true, &base_});
      whole.push_back({pair.whole.get(), tokens, true, &base_});
    }
    if (windowed.empty()) return;
    const absl::Span<const float> found = decoder_.Forward(base_, windowed);
    const Logits logits(found.begin(), found.end());
    const absl::Span<const float> expected = decoder_.Forward(base_, whole);
    ASSERT_EQ(logits, Logits(expected.begin(), expected.end()));
    for (const Pair& pair : pairs) {
      if (pair.whole->pages() > pair.windowed->pages()) saved_ = true;
    }
  }

  const CompiledState base_;
  std::mt19937 random_;
  const ModelConfig config_;
  const std::unique_ptr<ResidentWeights> weights_;
  std::shared_ptr<KvPagePool> windowed_, whole_;
  ThreadTeam team_;
  Decoder decoder_;
  bool saved_ = false;
};

TEST_P(DecoderWindowsTest, LogitsAreThoseOfSequencesThatKeepAll) {
  std::vector<Pair> pairs;
  for (int step = 0; step < 60; ++step) {
    if (pairs.size() < 2 || Below(15) == 0) {
      if (auto cache = KvCache::Create(windowed_, {.tokens = kLongest}); cache.ok()) {
        pairs.push_back({.tokens = {},
                         .windowed = *std::move(cache),
                         .whole = KvCache::Create(whole_, {.tokens = kLongest}).value()});
        Append(pairs.back(), 1 + Below(kLongest));
      }
    }
    if (Below(5) == 0) {
      Pair& source = pairs[Below(pairs.size())];
      int64_t tokens = source.windowed->length();
      if (Below(2) == 0) tokens = Below(tokens + 1);
      if (source.windowed->can_fork(tokens)) {
        auto fork = source.windowed->Fork(tokens, {.tokens = kLongest});
        if (fork.ok()) {
          Pair pair = {.tokens = {source.tokens.begin(), source.tokens.begin() + tokens},
                       .windowed = *std::move(fork),
                       .whole = source.whole->Fork(tokens, {.tokens = kLongest}).value()};
          Append(pair, Below(kLongest - tokens + 1));
          pairs.push_back(std::move(pair));
        }
      }
    }
    ASSERT_NO_FATAL_FAILURE(Step(pairs));
    std::erase_if(pairs, [&](const Pair& pair) { return pair.done() && Below(4) == 0; });
  }
  EXPECT_TRUE(saved_);
  pairs.clear();
  EXPECT_EQ(windowed_->used_bytes(), 0);
}

std::vector<Case> Cases() {
  std::vector<Case> cases;
  for (uint32_t seed = 0; seed < 24; ++seed) {
    cases.push_back({seed % 3 == 0   ? DType::kF32
                     : seed % 3 == 1 ? DType::kBF16
                                     : DType::kF16,
                     seed});
  }
  return cases;
}

INSTANTIATE_TEST_SUITE_P(Seeds, DecoderWindowsTest, ::testing::ValuesIn(Cases()),
                         [](const auto& test) {
                           return std::string(DTypeName(test.param.dtype)) +
                                  std::to_string(test.param.seed);
                         });

}  // namespace
}  // namespace shira
