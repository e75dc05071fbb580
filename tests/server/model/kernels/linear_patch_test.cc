// Rows whose weights are patched while they are multiplied, against weights that were written.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <numeric>
#include <tuple>

#include "tests/server/model/kernels/linear_testing.h"

namespace shira {
namespace {

using ::testing::Combine;
using ::testing::ValuesIn;

using Table = std::shared_ptr<const IndexTable>;

Table RandomTable(int64_t rows, int64_t cols, int64_t entries, std::mt19937& random) {
  std::vector<int64_t> positions(rows * cols);
  std::iota(positions.begin(), positions.end(), 0);
  std::shuffle(positions.begin(), positions.end(), random);
  positions.resize(std::min<int64_t>(entries, rows * cols));
  std::sort(positions.begin(), positions.end());
  return IndexTable::Create(rows, cols, positions).value();
}

// Patches of one state, and what they point to.
class State {
 public:
  void Add(const LinearWeight& weight, int64_t first_row, Table table, std::mt19937& random) {
    values_.push_back(RandomNumbers(weight.dtype, table->entries(), random, 5.0f).bytes);
    tables_.push_back(std::move(table));
    patches_.push_back({.first_row = first_row,
                        .table = tables_.back().get(),
                        .values = reinterpret_cast<const std::byte*>(values_.back().data())});
  }

  absl::Span<const WeightPatch> patches() const { return patches_; }

  // The weight's bytes with the patches written.
  std::vector<char> Written(const LinearProblem& problem) const {
    std::vector<char> bytes = problem.weights.bytes;
    const size_t size = DTypeSize(problem.weight.dtype);
    for (size_t i = 0; i < patches_.size(); ++i) {
      tables_[i]->ForEach([&](uint32_t entry, int64_t position) {
        std::memcpy(bytes.data() + (patches_[i].first_row * problem.weight.in + position) * size,
                    values_[i].data() + entry * size, size);
      });
    }
    return bytes;
  }

 private:
  std::vector<std::vector<char>> values_;
  std::vector<Table> tables_;
  std::vector<WeightPatch> patches_;
};

// States of a weight that is three parameters, one below the other.
std::vector<State> MakeStates(LinearProblem& problem) {
  const LinearWeight& weight = problem.weight;
  const int64_t second = weight.out / 3, third = weight.out / 3 + (weight.out + 2) / 4;
  const int64_t first_rows[] = {0, second, third};
  const int64_t heights[] = {second, third - second, weight.out - third};
  std::vector<Table> shared;
  const auto table = [&](int parameter, int64_t entries) {
    return RandomTable(heights[parameter], weight.in, entries, problem.random);
  };
  std::vector<State> states(6);
  for (int parameter = 0; parameter < 3; ++parameter) {
    if (heights[parameter] == 0) continue;
    const int64_t size = heights[parameter] * weight.in;
    const auto add = [&](int state, const Table& positions) {
      states[state].Add(weight, first_rows[parameter], positions, problem.random);
    };
    const Table common = table(parameter, 1 + size / 50);
    add(0, common);  // 0 and 1 share their tables
    add(1, common);
    add(2, table(parameter, 1 + size / 20));
    if (parameter != 1) add(3, table(parameter, size));  // every element; one parameter untouched
    add(4, table(parameter, 1 + size / 9));              // overlapping patches
    add(4, table(parameter, 1 + size / 3));
    add(5, table(parameter, 0));  // touches nothing
  }
  return states;
}

class LinearPatchTest : public ::testing::TestWithParam<std::tuple<DType, OutAndIn>> {
 protected:
  // Groups that want these states, -1 for the weights as they are, of these sizes.
  struct Wish {
    int state;
    int64_t rows;
  };

  void ExpectWritten(const LinearProblem& problem, const std::vector<State>& states,
                     const std::vector<Wish>& wishes, const ParallelFor& parallel_for) {
    std::vector<RowGroup> groups;
    std::vector<uint32_t> expected;
    for (const Wish& wish : wishes) {
      const int64_t begin = groups.empty() ? 0 : groups.back().end;
      groups.push_back({.begin = begin, .end = begin + wish.rows, .patches = {}});
      std::vector<char> written = problem.weights.bytes;
      if (wish.state >= 0) {
        groups.back().patches = states[wish.state].patches();
        written = states[wish.state].Written(problem);
      }
      LinearWeight weight = problem.weight;
      weight.data = written.data();
      for (int64_t row = begin; row < groups.back().end; ++row) {
        const auto bits = Bits(Multiply(weight, problem.x.data() + row * weight.in, 1));
        expected.insert(expected.end(), bits.begin(), bits.end());
      }
    }
    const std::vector<char> before = problem.weights.bytes;
    ASSERT_EQ(Bits(Multiply(problem.weight, problem.x.data(), groups, parallel_for)), expected);
    ASSERT_EQ(problem.weights.bytes, before) << "memory was written";
  }
};

TEST_P(LinearPatchTest, PatchedRowsEqualRowsOfWrittenWeights) {
  const auto [out, in] = std::get<1>(GetParam());
  LinearProblem problem(std::get<0>(GetParam()), out, in, 24, /*has_bias=*/true);
  const std::vector<State> states = MakeStates(problem);
  const std::vector<Wish> mixes[] = {
      {{0, 1}},
      {{2, 8}},
      {{-1, 1}, {0, 1}, {1, 1}, {2, 1}, {3, 1}, {4, 1}, {5, 1}, {-1, 1}},
      {{3, 2}, {-1, 9}, {0, 3}, {1, 1}, {0, 4}, {3, 2}},
      {{5, 3}, {4, 7}, {1, 1}, {5, 1}, {-1, 0}, {2, 12}},
  };
  OnEveryArithmetic([&] {
    for (size_t mix = 0; mix < std::size(mixes); ++mix) {
      SCOPED_TRACE(::testing::Message() << "mix " << mix);
      for (const int64_t parts : {1, 2, 5}) {
        ExpectWritten(problem, states, mixes[mix], SplitFor(parts));
        if (HasFatalFailure()) return;
      }
    }
  });
}

// (out, in): parameters that begin and end within blocks; blocks of 16, 8 and one row; columns
// beyond the steps; a row as wide as can be patched.
constexpr OutAndIn kPatchShapes[] = {{1, 1},    {5, 31},    {40, 33},   {67, 96},
                                     {70, 576}, {35, 1536}, {6, 40000}, {3, kMaxPatchedColumns}};

INSTANTIATE_TEST_SUITE_P(All, LinearPatchTest,
                         Combine(ValuesIn(kResidentDTypes), ValuesIn(kPatchShapes)),
                         LinearTestName);

}  // namespace
}  // namespace shira
