#include "server/model/kernels/attention.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <utility>

#include "base/strings.h"
#include "tests/server/model/kernels/linear_testing.h"
#include "tests/testutil/dtype_test_name.h"

namespace shira {
namespace {

using ::shira::testing::DTypeTestName;

// Sequences over one shape, whole: queries, keys and values of every position. Pages are filled as
// StoreInPage() does it; what is behind a sequence's end is NaN.
class Sequences {
 public:
  // sinks: of each head, or none.
  Sequences(const AttentionShape& shape, const std::vector<int64_t>& lengths, int64_t window = 0,
            std::vector<float> sinks = {})
      : shape_(shape), window_(window), sinks_(std::move(sinks)) {
    std::mt19937 random(5);
    for (const int64_t length : lengths) {
      Sequence& sequence = sequences_.emplace_back();
      sequence.length = length;
      sequence.queries = RandomNumbers(shape.dtype, length * query_width(), random, 2.0f).values;
      sequence.keys = RandomNumbers(shape.dtype, length * kv_width(), random).values;
      sequence.values = RandomNumbers(shape.dtype, length * kv_width(), random).values;
      StorePages(sequence);
    }
  }

  int64_t query_width() const { return shape_.num_heads * shape_.head_dim; }
  int64_t kv_width() const { return shape_.num_kv_heads * shape_.head_dim; }
  int64_t length(size_t i) const { return sequences_[i].length; }

  // Changes all values of one position.
  void SetValue(size_t i, int64_t position, float value) {
    Sequence& sequence = sequences_[i];
    std::fill_n(sequence.values.begin() + position * kv_width(), kv_width(), value);
    sequence.memory.clear();
    sequence.pages.clear();
    StorePages(sequence);
  }

  // What a run computes: tokens [start, start + tokens) of one sequence.
  struct Part {
    size_t sequence;
    int64_t start;
    int64_t tokens;
  };
  // By part: [tokens, num_heads * head_dim].
  std::vector<std::vector<float>> Attend(const std::vector<Part>& parts,
                                         const ParallelFor& parallel_for = SerialFor) const {
    std::vector<AttentionRow> rows;
    std::vector<std::vector<float>> outputs(parts.size());
    for (size_t i = 0; i < parts.size(); ++i) {
      const Sequence& sequence = sequences_[parts[i].sequence];
      outputs[i].assign(parts[i].tokens * query_width(), NAN);
      rows.push_back({.queries = sequence.queries.data() + parts[i].start * query_width(),
                      .query_stride = query_width(),
                      .pages = sequence.pages.data(),
                      .layer_offset = kLayerOffset,
                      .start = parts[i].start,
                      .tokens = parts[i].tokens,
                      .window = window_,
                      .sinks = sinks_.empty() ? nullptr : sinks_.data(),
                      .output = outputs[i].data()});
    }
    Attention attention(shape_);
    attention.Plan(rows);
    for (int layer = 0; layer < 2; ++layer)
      attention.Run(rows, parallel_for);  // a plan serves many
    return outputs;
  }
  std::vector<float> AttendWhole(size_t i) const { return Attend({{i, 0, length(i)}})[0]; }

  struct Exact {
    double value = 0.0;
    double magnitude = 0.0;  // of the sum that it is
  };

  // The textbook, in double, for one position: [num_heads * head_dim].
  std::vector<Exact> Expected(size_t i, int64_t position) const {
    const Sequence& s = sequences_[i];
    const int64_t width = shape_.head_dim;
    const int64_t first = window_ == 0 ? 0 : std::max<int64_t>(0, position + 1 - window_);
    std::vector<Exact> expected(query_width());
    for (int64_t head = 0; head < shape_.num_heads; ++head) {
      const float* query = s.queries.data() + position * query_width() + head * width;
      const int64_t kv = head / shape_.queries_per_kv_head() * width;
      std::vector<double> scores(position + 1, -INFINITY);
      for (int64_t at = first; at <= position; ++at) {
        scores[at] = 0.0;
        for (int64_t k = 0; k < width; ++k) {
          scores[at] += static_cast<double>(query[k]) * s.keys[at * kv_width() + kv + k];
        }
        scores[at] *= shape_.score_scale != 0 ? shape_.score_scale
                                              : 1 / std::sqrt(static_cast<double>(width));
        if (shape_.softcap != 0)
          scores[at] = shape_.softcap * std::tanh(scores[at] / shape_.softcap);
      }
      double maximum = *std::max_element(scores.begin(), scores.end());
      double total = 0.0;
      if (!sinks_.empty()) {
        maximum = std::max<double>(maximum, sinks_[head]);
        total = std::exp(sinks_[head] - maximum);
      }
      for (double& score : scores) total += score = std::exp(score - maximum);
      for (int64_t at = 0; at <= position; ++at) {
        for (int64_t k = 0; k < width; ++k) {
          const double term = scores[at] / total * s.values[at * kv_width() + kv + k];
          expected[head * width + k].value += term;
          expected[head * width + k].magnitude += std::abs(term);
        }
      }
    }
    return expected;
  }

 private:
  static constexpr int64_t kLayerOffset = 64;

  struct Sequence {
    int64_t length = 0;
    std::vector<float> queries;       // [length, num_heads, head_dim]
    std::vector<float> keys, values;  // [length, num_kv_heads, head_dim]
    std::vector<std::unique_ptr<std::byte, decltype(&std::free)>> memory;
    std::vector<const std::byte*> pages;
  };

  void StorePages(Sequence& sequence) const {
    const int64_t bytes = kLayerOffset + LayerBytesOfPage(shape_);
    for (int64_t at = 0; at < sequence.length; ++at) {
      if (at % kPageTokens == 0) {
        auto* page = static_cast<std::byte*>(std::aligned_alloc(64, bytes));
        std::memset(page, 0xFF, bytes);
        sequence.memory.emplace_back(page, &std::free);
        sequence.pages.push_back(page);
      }
      StoreInPage(shape_, sequence.keys.data() + at * kv_width(),
                  sequence.values.data() + at * kv_width(), at % kPageTokens,
                  sequence.memory.back().get() + kLayerOffset);
    }
  }

  const AttentionShape shape_;
  const int64_t window_;
  const std::vector<float> sinks_;
  std::vector<Sequence> sequences_;
};

// One rounding of the result; with matrix tiles one of each weight, too.
double Tolerance(DType dtype, const Sequences::Exact& exact) {
  const bool tiles = dtype == DType::kBF16 && UsesTiles(ChosenBf16Products());
  return std::abs(exact.value) * RoundingError(dtype) * 1.01 + 4e-6 +
         (tiles ? exact.magnitude * RoundingError(dtype) : 0.0);
}

class AttentionTest : public ::testing::TestWithParam<DType> {
 protected:
  // Grouped, one key head for all, one each, many for one; head sizes with and without a rest; scores
  // scaled and capped.
  std::vector<AttentionShape> Shapes() const {
    return {{GetParam(), 9, 3, 64},
            {GetParam(), 4, 1, 24},
            {GetParam(), 2, 2, 10},
            {GetParam(), 8, 1, 80},
            {GetParam(), 3, 1, 24, /*score_scale=*/0.5f, /*softcap=*/3.0f}};
  }
};

// One position, around a page of 32, a block of 64 and a piece of 256; tiles are 16. No longer:
// the portable target takes its time.
const std::vector<int64_t> kLengths = {1, 15, 32, 33, 64, 65, 270};

// The query alone, parts of a block, one block, more than a piece, and more than any sequence.
const std::vector<int64_t> kWindows = {1, 2, 20, 63, 64, 65, 130, 257, 1000};

TEST_P(AttentionTest, EqualsTheTextbookInDouble) {
  for (const AttentionShape& shape : Shapes()) {
    const Sequences sequences(shape, kLengths);
    OnEveryArithmetic([&] {
      for (size_t i = 0; i < kLengths.size(); ++i) {
        const std::vector<float> output = sequences.AttendWhole(i);
        for (int64_t at = 0; at < kLengths[i]; at += 1 + kLengths[i] / 9) {
          const std::vector<Sequences::Exact> expected = sequences.Expected(i, at);
          for (size_t k = 0; k < expected.size(); ++k) {
            const float found = output[at * sequences.query_width() + k];
            ASSERT_NEAR(found, expected[k].value, Tolerance(GetParam(), expected[k]))
                << "length " << kLengths[i] << ", position " << at << ", element " << k;
            ASSERT_EQ(found, RoundedTo(GetParam(), found));
          }
        }
      }
    });
  }
}

TEST_P(AttentionTest, APositionsBitsDoNotDependOnHowItsSequenceIsCut) {
  constexpr int64_t kLength = 270;
  for (const AttentionShape& shape : Shapes()) {
    const Sequences sequences(shape, {kLength});
    OnEveryArithmetic([&] {
      const std::vector<float> whole = sequences.AttendWhole(0);
      for (const int64_t chunk : {1, 7, 16, 33, 200}) {
        std::vector<Sequences::Part> parts;
        for (int64_t at = 0; at < kLength; at += chunk) {
          parts.push_back({0, at, std::min(chunk, kLength - at)});
        }
        std::vector<float> chunked;
        for (const std::vector<float>& output : sequences.Attend(parts)) {
          chunked.insert(chunked.end(), output.begin(), output.end());
        }
        ASSERT_EQ(chunked, whole) << "chunks of " << chunk;
      }
    });
  }
}

TEST_P(AttentionTest, AWindowLeavesOutWhatIsBeforeIt) {
  const AttentionShape shape = {GetParam(), 4, 2, 24};
  // Several pieces, whose first ones a window leaves out whole.
  const std::vector<int64_t> lengths = {1, 64, 90, 530};
  for (const int64_t window : kWindows) {
    const Sequences sequences(shape, lengths, window);
    OnEveryArithmetic([&] {
      for (size_t i = 0; i < lengths.size(); ++i) {
        const std::vector<float> output = sequences.AttendWhole(i);
        for (int64_t at = 0; at < lengths[i]; at += 1 + lengths[i] / 19) {
          const std::vector<Sequences::Exact> expected = sequences.Expected(i, at);
          for (size_t k = 0; k < expected.size(); ++k) {
            ASSERT_NEAR(output[at * sequences.query_width() + k], expected[k].value,
                        Tolerance(GetParam(), expected[k]))
                << "window " << window << ", length " << lengths[i] << ", position " << at;
          }
        }
      }
    });
  }
}

// A sequence of `length` tokens in chunks, by several threads, against the whole of it.
void ExpectEqualBitsHoweverCut(const Sequences& sequences, int64_t length) {
  const std::vector<float> whole = sequences.AttendWhole(0);
  for (const int64_t chunk : {1, 7, 33}) {
    std::vector<Sequences::Part> parts;
    for (int64_t at = 0; at < length; at += chunk) {
      parts.push_back({0, at, std::min(chunk, length - at)});
    }
    std::vector<float> chunked;
    for (const std::vector<float>& output : sequences.Attend(parts, SplitFor(3))) {
      chunked.insert(chunked.end(), output.begin(), output.end());
    }
    ASSERT_EQ(chunked, whole) << "chunks of " << chunk;
  }
}

TEST_P(AttentionTest, AWindowsBitsDoNotDependOnHowItsSequenceIsCutOrOnThreads) {
  constexpr int64_t kLength = 530;
  const AttentionShape shape = {GetParam(), 4, 2, 24};
  for (const int64_t window : kWindows) {
    const Sequences sequences(shape, {kLength}, window);
    SCOPED_TRACE(StrCat("window ", window));
    OnEveryArithmetic([&] { ExpectEqualBitsHoweverCut(sequences, kLength); });
  }
}

TEST_P(AttentionTest, AWindowAsLongAsTheSequenceChangesNoBit) {
  const AttentionShape shape = {GetParam(), 4, 2, 24};
  OnEveryArithmetic([&] {
    ASSERT_EQ(Sequences(shape, {300}, 300).AttendWhole(0), Sequences(shape, {300}).AttendWhole(0));
    ASSERT_NE(Sequences(shape, {300}, 299).AttendWhole(0), Sequences(shape, {300}).AttendWhole(0));
  });
}

// One for each head: below the scores, among them, and so far above that hardly anything is left.
std::vector<float> SinksOf(const AttentionShape& shape) {
  constexpr float kSinks[] = {-100.0f, 0.5f, 3.0f, 9.0f, 200.0f};
  std::vector<float> sinks;
  for (int64_t head = 0; head < shape.num_heads; ++head) sinks.push_back(kSinks[head % 5]);
  return sinks;
}

TEST_P(AttentionTest, ASinkIsAScoreWithoutAValue) {
  for (const AttentionShape& shape : Shapes()) {
    for (const int64_t window : {0, 20}) {
      const Sequences sequences(shape, kLengths, window, SinksOf(shape));
      OnEveryArithmetic([&] {
        for (size_t i = 0; i < kLengths.size(); ++i) {
          const std::vector<float> output = sequences.AttendWhole(i);
          const std::vector<float> last = sequences.Attend({{i, kLengths[i] - 1, 1}})[0];
          for (int64_t at = kLengths[i] - 1; at >= 0; at -= 1 + kLengths[i] / 9) {
            const std::vector<Sequences::Exact> expected = sequences.Expected(i, at);
            for (size_t k = 0; k < expected.size(); ++k) {
              const float found = output[at * sequences.query_width() + k];
              ASSERT_NEAR(found, expected[k].value, Tolerance(GetParam(), expected[k]))
                  << "length " << kLengths[i] << ", position " << at << ", element " << k;
              if (at == kLengths[i] - 1) {
                ASSERT_EQ(found, last[k]);
              }
            }
          }
        }
      });
    }
  }
}

TEST_P(AttentionTest, ASinksBitsDoNotDependOnHowItsSequenceIsCutOrOnThreads) {
  constexpr int64_t kLength = 530;
  const AttentionShape shape = {GetParam(), 5, 1, 24};
  for (const int64_t window : {0, 130}) {
    const Sequences sequences(shape, {kLength}, window, SinksOf(shape));
    SCOPED_TRACE(StrCat("window ", window));
    OnEveryArithmetic([&] { ExpectEqualBitsHoweverCut(sequences, kLength); });
  }
}

// What a query does not see changes nothing for it, even if it is no number.
TEST_P(AttentionTest, LaterValuesThatAreNotFiniteDoNotReachEarlierPositions) {
  constexpr int64_t kLength = 100, kInfinite = 70;
  const AttentionShape shape = {GetParam(), 4, 2, 24};
  const Sequences finite(shape, {kLength});
  Sequences sequences(shape, {kLength});
  sequences.SetValue(0, kInfinite, INFINITY);
  OnEveryArithmetic([&] {
    std::vector<float> expected = finite.AttendWhole(0);
    std::vector<float> found = sequences.AttendWhole(0);
    EXPECT_NE(found[kInfinite * sequences.query_width()],
              expected[kInfinite * sequences.query_width()]);
    expected.resize(kInfinite * sequences.query_width());
    found.resize(expected.size());
    EXPECT_EQ(found, expected);
  });
}

TEST_P(AttentionTest, BitsDoNotDependOnCompanionsOrThreads) {
  for (const AttentionShape& shape : Shapes()) {
    const Sequences sequences(shape, kLengths);
    std::vector<Sequences::Part> parts;
    for (size_t i = 0; i < kLengths.size(); ++i) {
      // The last position, the last few, or all.
      const int64_t tokens = i % 3 == 0 ? 1 : i % 3 == 1 ? (kLengths[i] + 1) / 2 : kLengths[i];
      parts.push_back({i, kLengths[i] - tokens, tokens});
    }
    parts.push_back({6, 20, 1});
    OnEveryArithmetic([&] {
      const auto together = sequences.Attend(parts);
      for (size_t i = 0; i < parts.size(); ++i) {
        ASSERT_EQ(sequences.Attend({parts[i]}), std::vector<std::vector<float>>{together[i]}) << i;
      }
      for (const int64_t split : {2, 7}) {
        ASSERT_EQ(sequences.Attend(parts, SplitFor(split)), together) << split;
      }
    });
  }
}

INSTANTIATE_TEST_SUITE_P(All, AttentionTest, ::testing::ValuesIn(kResidentDTypes), DTypeTestName);

}  // namespace
}  // namespace shira
