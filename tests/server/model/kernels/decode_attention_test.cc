#include "server/model/kernels/decode_attention.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "tests/server/model/kernels/kernel_testing.h"

namespace shira {
namespace {

// Sequences of several lengths over one shape; positions behind a sequence's end are NaN.
class Batch {
 public:
  Batch(const DecodeAttentionShape& shape, const std::vector<int64_t>& lengths) : shape_(shape) {
    std::mt19937 random(5);
    for (const int64_t length : lengths) {
      Sequence& sequence = sequences_.emplace_back();
      sequence.length = length;
      sequence.stride = length + 3;
      const int64_t width = shape.head_dim;
      sequence.queries = RandomNumbers(shape.dtype, shape.num_heads * width, random, 2.0f).values;
      sequence.keys = Padded(random, sequence);
      sequence.values = Padded(random, sequence);
    }
  }

  // Of the sequences [first, first + count): [count, num_heads * head_dim].
  std::vector<std::vector<float>> Attend(size_t first, size_t count,
                                         const ParallelFor& parallel_for = SerialFor) const {
    std::vector<DecodeAttentionRow> rows;
    std::vector<std::vector<float>> outputs(count);
    for (size_t i = 0; i < count; ++i) {
      const Sequence& sequence = sequences_[first + i];
      outputs[i].assign(sequence.queries.size(), NAN);
      rows.push_back({.queries = sequence.queries.data(),
                      .keys = sequence.keys.bytes.data(),
                      .values = sequence.values.bytes.data(),
                      .stride = sequence.stride,
                      .length = sequence.length,
                      .output = outputs[i].data()});
    }
    std::vector<float> scratch(DecodeAttentionScratch(shape_, static_cast<int64_t>(count)), NAN);
    DecodeAttention(shape_, rows, scratch.data(), parallel_for);
    return outputs;
  }

  // The textbook, in double.
  std::vector<double> Expected(size_t i) const {
    const Sequence& s = sequences_[i];
    const int64_t width = shape_.head_dim;
    std::vector<double> expected(s.queries.size(), 0.0);
    for (int64_t head = 0; head < shape_.num_heads; ++head) {
      const int64_t plane = head / (shape_.num_heads / shape_.num_kv_heads) * s.stride * width;
      std::vector<double> scores(s.length, 0.0);
      for (int64_t at = 0; at < s.length; ++at) {
        for (int64_t k = 0; k < width; ++k) {
          scores[at] += static_cast<double>(s.queries[head * width + k]) *
                        s.keys.values[plane + at * width + k];
        }
        scores[at] /= std::sqrt(static_cast<double>(width));
      }
      const double maximum = *std::max_element(scores.begin(), scores.end());
      double total = 0.0;
      for (double& score : scores) total += score = std::exp(score - maximum);
      for (int64_t at = 0; at < s.length; ++at) {
        for (int64_t k = 0; k < width; ++k) {
          expected[head * width + k] +=
              scores[at] / total * s.values.values[plane + at * width + k];
        }
      }
    }
    return expected;
  }

 private:
  struct Sequence {
    std::vector<float> queries;
    Numbers keys, values;  // [num_kv_heads, stride, head_dim]
    int64_t stride = 0;
    int64_t length = 0;
  };

  Numbers Padded(std::mt19937& random, const Sequence& sequence) const {
    Numbers numbers = RandomNumbers(
        shape_.dtype, shape_.num_kv_heads * sequence.stride * shape_.head_dim, random);
    const int64_t position_bytes = shape_.head_dim * static_cast<int64_t>(DTypeSize(shape_.dtype));
    for (int64_t head = 0; head < shape_.num_kv_heads; ++head) {
      const int64_t end = head * sequence.stride + sequence.length;
      std::fill_n(numbers.bytes.data() + end * position_bytes,
                  (sequence.stride - sequence.length) * position_bytes, '\xFF');
    }
    return numbers;
  }

  const DecodeAttentionShape shape_;
  std::vector<Sequence> sequences_;
};

class DecodeAttentionTest : public ::testing::TestWithParam<DType> {
 protected:
  // Grouped, one key head for all, one each; head sizes with and without a rest.
  std::vector<DecodeAttentionShape> Shapes() const {
    return {{GetParam(), 9, 3, 64}, {GetParam(), 4, 1, 24}, {GetParam(), 2, 2, 10}};
  }
};

// One position, around a block of 64 and a piece of 256, and more than 8 such pieces.
const std::vector<int64_t> kLengths = {1, 2, 63, 64, 65, 255, 256, 257, 700, 2500};

TEST_P(DecodeAttentionTest, EqualsTheTextbookInDouble) {
  for (const DecodeAttentionShape& shape : Shapes()) {
    const Batch batch(shape, kLengths);
    OnEveryTarget([&] {
      const auto outputs = batch.Attend(0, kLengths.size());
      for (size_t i = 0; i < kLengths.size(); ++i) {
        const std::vector<double> expected = batch.Expected(i);
        for (size_t k = 0; k < expected.size(); ++k) {
          ASSERT_NEAR(outputs[i][k], expected[k],
                      std::abs(expected[k]) * RoundingError(GetParam()) * 1.01 + 4e-6)
              << "length " << kLengths[i] << ", element " << k;
          ASSERT_EQ(outputs[i][k], RoundedTo(GetParam(), outputs[i][k]));
        }
      }
    });
  }
}

TEST_P(DecodeAttentionTest, ASequencesBitsDoNotDependOnItsCompanionsOrTheThreads) {
  for (const DecodeAttentionShape& shape : Shapes()) {
    const Batch batch(shape, kLengths);
    OnEveryTarget([&] {
      const auto together = batch.Attend(0, kLengths.size());
      for (size_t i = 0; i < kLengths.size(); ++i) {
        ASSERT_EQ(batch.Attend(i, 1), std::vector<std::vector<float>>{together[i]}) << i;
      }
      for (const int64_t parts : {2, 3, 7, 100}) {
        ASSERT_EQ(batch.Attend(0, kLengths.size(), SplitFor(parts)), together) << parts;
      }
    });
  }
}

std::string DTypeTestName(const ::testing::TestParamInfo<DType>& info) {
  return std::string(DTypeName(info.param));
}
INSTANTIATE_TEST_SUITE_P(All, DecodeAttentionTest, ::testing::ValuesIn(kResidentDTypes),
                         DTypeTestName);

}  // namespace
}  // namespace shira
