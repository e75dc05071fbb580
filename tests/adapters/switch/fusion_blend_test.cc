#include "adapters/switch/fusion_blend.h"

#include <limits>
#include <random>
#include <set>

#include "adapters/switch/fusion_thinning.h"
#include "tests/testutil/adapter_builder.h"
#include "tests/testutil/status_matchers.h"

namespace shira {
namespace {

using ::shira::testing::FlatPositionsOf;
using ::shira::testing::IsOk;
using ::shira::testing::MakeAdapter;
using ::shira::testing::MakeDelta;
using ::shira::testing::StatusIs;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr char kQuery[] = "q.weight";  // [4, 8] in these tests
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

ParameterDelta Delta(std::string parameter, std::vector<int64_t> positions,
                     std::vector<float> values, int64_t rows = 4, int64_t cols = 8) {
  return MakeDelta(std::move(parameter), rows, cols, positions, std::move(values));
}

FusionOperand Operand(std::string name, std::vector<ParameterDelta> deltas, double weight = 1.0) {
  return {name, MakeAdapter(name, std::move(deltas)), weight};
}

std::vector<int64_t> Positions(const ParameterDelta& delta) {
  return FlatPositionsOf(*delta.table);
}

class FusionBlendTest : public ::testing::Test {
 protected:
  absl::StatusOr<FusionResult> BlendOf(FusionRule rule, std::vector<FusionOperand> operands,
                                       double density = 1.0, uint64_t seed = 0) {
    return Blend({rule, density, seed}, std::move(operands), pool_);
  }

  IndexTablePool pool_;
};

// ---- Results ------------------------------------------------------------------------------------

TEST_F(FusionBlendTest, SumsOverTheUnionAndReportsWhereTheOperandsMeet) {
  ASSERT_OK_AND_ASSIGN(const FusionResult result,
                       BlendOf(FusionRule::kSum, {Operand("a", {Delta(kQuery, {0, 5}, {1, 2})}, 2),
                                                  Operand("b", {Delta(kQuery, {5, 7}, {4, 3})}, -1),
                                                  Operand("c", {Delta("k.weight", {1}, {6})})}));
  ASSERT_THAT(result.adapter->deltas, SizeIs(2));
  EXPECT_EQ(result.adapter->deltas[0].parameter, "k.weight");
  const ParameterDelta& query = result.adapter->deltas[1];
  EXPECT_THAT(Positions(query), ElementsAre(0, 5, 7));
  EXPECT_THAT(query.values, ElementsAre(2, 0, -3));  // the zero of an element that cancels stays
  EXPECT_EQ(result.adapter->format, "blend");
  EXPECT_EQ(result.adapter->scale, 1.0f);

  const FusionOverlap& overlap = result.report.parameters[1].overlap;
  EXPECT_EQ(overlap.operand_entries, 4);
  EXPECT_EQ(overlap.union_entries, 3);
  EXPECT_EQ(overlap.shared_entries, 1);
  EXPECT_EQ(overlap.sign_conflicts, 1);
  EXPECT_EQ(overlap.result_entries, 3);
  EXPECT_DOUBLE_EQ(overlap.energy_kept(), (4.0 + 9.0) / (4.0 + 16.0 + 16.0 + 9.0));
  EXPECT_EQ(result.report.total.union_entries, 4);
  EXPECT_DOUBLE_EQ(result.report.total.energy_kept(), (4.0 + 9.0 + 36.0) / (45.0 + 36.0));
}

TEST_F(FusionBlendTest, CountsTheScaleOfAnOperand) {
  auto scaled = std::make_shared<SparseAdapter>(*Operand("a", {Delta(kQuery, {0}, {3})}).adapter);
  scaled->scale = -2.0f;
  ASSERT_OK_AND_ASSIGN(const FusionResult result, BlendOf(FusionRule::kSum, {{"a", scaled, 0.5}}));
  EXPECT_THAT(result.adapter->deltas[0].values, ElementsAre(-3));
}

TEST_F(FusionBlendTest, RoundsOnceAfterTheLastTerm) {
  // In fp32 1 + 2^-24 is 1 again, twice; in fp64 the two halves make the next float.
  ASSERT_OK_AND_ASSIGN(const FusionResult result,
                       BlendOf(FusionRule::kSum, {Operand("a", {Delta(kQuery, {0}, {1.0f})}),
                                                  Operand("b", {Delta(kQuery, {0}, {0x1p-24f})}),
                                                  Operand("c", {Delta(kQuery, {0}, {0x1p-24f})})}));
  EXPECT_EQ(result.adapter->deltas[0].values[0], 1.0f + 0x1p-23f);
}

TEST_F(FusionBlendTest, EqualTablesStayOneTable) {
  const ParameterDelta a = Delta(kQuery, {1, 2}, {1, 2});
  const std::shared_ptr<const IndexTable> table = pool_.Intern(a.table);
  for (const FusionRule rule : {FusionRule::kSum, FusionRule::kMax, FusionRule::kTies}) {
    ASSERT_OK_AND_ASSIGN(
        const FusionResult result,
        BlendOf(rule, {Operand("a", {a}), Operand("b", {Delta(kQuery, {1, 2}, {3, -4})})}));
    EXPECT_EQ(result.adapter->deltas[0].table, table);
  }
}

TEST_F(FusionBlendTest, TheLargestMagnitudeWinsAndTheLowestDigestAmongEqualOnes) {
  std::vector<FusionOperand> operands = {Operand("a", {Delta(kQuery, {0, 1}, {2, 1})}),
                                         Operand("b", {Delta(kQuery, {0, 1}, {-2, 3})}, -1)};
  ASSERT_OK_AND_ASSIGN(const FusionResult result, BlendOf(FusionRule::kMax, operands));
  EXPECT_THAT(result.adapter->deltas[0].values, ElementsAre(2, -3));
  operands[1].weight = 1;
  const bool a_first = operands[0].adapter->digest < operands[1].adapter->digest;
  ASSERT_OK_AND_ASSIGN(const FusionResult equal, BlendOf(FusionRule::kMax, operands));
  EXPECT_THAT(equal.adapter->deltas[0].values, ElementsAre(a_first ? 2 : -2, 3));
}

TEST_F(FusionBlendTest, TiesElectsWithoutWeightsAndTakesTheMeanOfThoseThatAgree) {
  ASSERT_OK_AND_ASSIGN(
      const FusionResult result,
      BlendOf(FusionRule::kTies, {Operand("a", {Delta(kQuery, {0, 1, 2}, {1, 1, 1})}, 10),
                                  Operand("b", {Delta(kQuery, {0, 1, 3}, {3, -3, 5})}),
                                  Operand("c", {Delta(kQuery, {1, 2}, {-1, -1})}, 2)}));
  const ParameterDelta& query = result.adapter->deltas[0];
  EXPECT_THAT(Positions(query), ElementsAre(0, 1, 2, 3));
  // Element 2: 1 and -1 sum to 0, which elects +.
  EXPECT_THAT(query.values, ElementsAre((10 + 3) / 2.0f, (-3 - 2) / 2.0f, 10, 5));
}

TEST_F(FusionBlendTest, AnOperandOfWeightZeroVotesAndCountsAsInPeft) {
  ASSERT_OK_AND_ASSIGN(
      const FusionResult result,
      BlendOf(FusionRule::kTies, {Operand("a", {Delta(kQuery, {0, 1}, {1, 1})}),
                                  Operand("b", {Delta(kQuery, {0, 1}, {3, -3})}, 0)}));
  EXPECT_THAT(Positions(result.adapter->deltas[0]), ElementsAre(0));
  EXPECT_THAT(result.adapter->deltas[0].values, ElementsAre(0.5f));
}

TEST_F(FusionBlendTest, PruningKeepsTheFloorOfTheFractionAndLowerPositionsAmongEqualMagnitudes) {
  const std::vector<FusionOperand> one = {
      Operand("a", {Delta(kQuery, {0, 3, 4, 9, 20}, {1, -2, 2, 2, -1})})};
  ASSERT_OK_AND_ASSIGN(const FusionResult half, BlendOf(FusionRule::kPruned, one, 0.59));
  EXPECT_THAT(Positions(half.adapter->deltas[0]), ElementsAre(3, 4));
  ASSERT_OK_AND_ASSIGN(const FusionResult four, BlendOf(FusionRule::kPruned, one, 0.8));
  EXPECT_THAT(Positions(four.adapter->deltas[0]), ElementsAre(0, 3, 4, 9));
  ASSERT_OK_AND_ASSIGN(const FusionResult all, BlendOf(FusionRule::kPruned, one, 1.0));
  EXPECT_THAT(Positions(all.adapter->deltas[0]), ElementsAre(0, 3, 4, 9, 20));
}

TEST_F(FusionBlendTest, AParameterOfWhichNothingIsLeftIsLeftOut) {
  ASSERT_OK_AND_ASSIGN(
      const FusionResult result,
      BlendOf(FusionRule::kPruned,
              {Operand("a", {Delta("k.weight", {0}, {9}), Delta(kQuery, {0, 1}, {1, 2})})}, 0.5));
  ASSERT_THAT(result.adapter->deltas, SizeIs(1));
  EXPECT_EQ(result.adapter->deltas[0].parameter, kQuery);
  EXPECT_EQ(result.report.parameters[0].overlap.result_entries, 0);
  EXPECT_EQ(result.report.parameters[0].overlap.energy_kept(), 0.0);
}

TEST_F(FusionBlendTest, AllZeroDeltasKeepAllTheirEnergy) {
  ASSERT_OK_AND_ASSIGN(
      const FusionResult result,
      BlendOf(FusionRule::kSum, {Operand("a", {Delta(kQuery, {0, 1}, {1, 2})}, 0)}));
  EXPECT_THAT(result.adapter->deltas[0].values, ElementsAre(0, 0));
  EXPECT_EQ(result.report.total.energy_kept(), 1.0);
}

TEST_F(FusionBlendTest, TheRandomChoiceOfAnOperandDependsOnTheSeedAndNotOnTheOthers) {
  std::mt19937 random(1);
  const ParameterDelta wide =
      testing::MakeDelta(kQuery, 64, 64, testing::RandomPositions(64, 64, 1000, random), random);
  const auto kept = [&](uint64_t seed, std::vector<FusionOperand> others) {
    others.push_back(Operand("wide", {wide}));
    auto result = BlendOf(FusionRule::kDare, std::move(others), 0.25, seed);
    EXPECT_THAT(result, IsOk());
    return Positions(result->adapter->deltas.back());
  };
  const std::vector<int64_t> alone = kept(7, {});
  EXPECT_EQ(kept(7, {Operand("other", {Delta("k.weight", {0}, {1}), Delta("l.weight", {0}, {1})})}),
            alone);
  EXPECT_NE(kept(8, {}), alone);
  const KeepMask keep = KeepRandom(*wide.table, 0.25, 7, MakeAdapter("wide", {})->digest, kQuery);
  std::vector<int64_t> expected;
  wide.table->ForEach([&](int64_t entry, int64_t position) {
    if (keep[entry] != 0) expected.push_back(position);
  });
  EXPECT_EQ(alone, expected);
}

// ---- The digest ---------------------------------------------------------------------------------

TEST_F(FusionBlendTest, EqualBlendsHaveEqualDigestsAndOthersDiffer) {
  const Sha256Digest a = Sha256::Of("a");
  const Sha256Digest b = Sha256::Of("b");
  const auto digest = [](FusionOptions options, std::vector<StateTerm> parts) {
    return *BlendDigest(options, std::move(parts));
  };
  const std::vector<StateTerm> parts = {{a, 1.0}, {b, 0.5}};
  const FusionOptions ties = {FusionRule::kTies, 0.5, 1};
  EXPECT_EQ(digest(ties, parts), digest(ties, {{b, 0.5}, {a, 1.0}}));
  EXPECT_EQ(digest(ties, {{a, 0.0}}), digest(ties, {{a, -0.0}}));
  // Options that a rule does not have are no part of what it makes.
  EXPECT_EQ(digest(ties, parts), digest({FusionRule::kTies, 0.5, 2}, parts));
  EXPECT_EQ(digest({FusionRule::kSum, 0.5, 1}, parts), digest({FusionRule::kSum, 1.0, 0}, parts));

  std::set<Sha256Digest> different;
  for (const FusionRuleInfo& info : FusionRules()) {
    different.insert(digest({info.rule, 0.5, 1}, parts));
  }
  different.insert(digest({FusionRule::kTies, 0.25, 1}, parts));
  different.insert(digest({FusionRule::kDare, 0.5, 2}, parts));
  different.insert(digest(ties, {{a, 0.5}, {b, 1.0}}));
  different.insert(digest(ties, {{a, 1.0}}));
  different.insert((*StateKey::Create(parts)).digest());
  EXPECT_EQ(different.size(), FusionRules().size() + 5);
}

// ---- Refusals -----------------------------------------------------------------------------------

TEST_F(FusionBlendTest, RefusesWhatMakesNoSense) {
  const FusionOperand a = Operand("a", {Delta(kQuery, {0}, {1})});
  const auto refused = [&](FusionRule rule, std::vector<FusionOperand> operands, double density,
                           const std::string& message) {
    EXPECT_THAT(BlendOf(rule, std::move(operands), density),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(message)));
  };
  refused(FusionRule::kSum, {}, 1.0, "at least one part");
  refused(FusionRule::kSum, {a, a}, 1.0, "occurs twice");
  refused(FusionRule::kSum, {{"a", a.adapter, kNan}}, 1.0, "finite weight");
  refused(FusionRule::kTies, {a}, 0.0, "density");
  refused(FusionRule::kDare, {a}, 1.5, "density");
  refused(FusionRule::kPruned, {a}, kNan, "density");
  refused(FusionRule::kPruned, {a}, 0.5, "leaves no entry");
  refused(FusionRule::kSum, {{"a", a.adapter, 1e39}}, 1.0, "q.weight, row 0, column 0");
  EXPECT_THAT(BlendOf(FusionRule::kSum, {a}, 0.0), IsOk());  // has no density
}

TEST_F(FusionBlendTest, RefusesOperandsThatReplaceWeights) {
  ParameterDelta replacement = Delta("k.weight", {0}, {1});
  replacement.kind = ValueKind::kReplacement;
  EXPECT_THAT(BlendOf(FusionRule::kSum,
                      {Operand("a", {Delta(kQuery, {0}, {1})}), Operand("patch", {replacement})}),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       AllOf(HasSubstr("'patch'"), HasSubstr("k.weight"))));
}

TEST_F(FusionBlendTest, RefusesOperandsOfDifferentShapes) {
  EXPECT_THAT(BlendOf(FusionRule::kSum, {Operand("a", {Delta(kQuery, {0}, {1})}),
                                         Operand("b", {Delta(kQuery, {0}, {1}, 8, 8)})}),
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       AllOf(HasSubstr("'a'"), HasSubstr("'b'"), HasSubstr("[8, 8]"))));
}

}  // namespace
}  // namespace shira
