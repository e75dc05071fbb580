#include "server/sampling/score_scan.h"

#include <algorithm>
#include <limits>
#include <numeric>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "server/sampling/score_scan.cc"
#include <hwy/foreach_target.h>  // IWYU pragma: keep
// After foreach_target.h.
#include <hwy/contrib/math/math-inl.h>
#include <hwy/highway.h>

#ifndef SHIRA_SERVER_SAMPLING_SCORE_SCAN_ONCE_
#define SHIRA_SERVER_SAMPLING_SCORE_SCAN_ONCE_
namespace shira {
namespace {

constexpr int64_t kLanes = 16;  // of a sum; a multiple of every vector's
constexpr float kNone = -std::numeric_limits<float>::infinity();

// Calls visit(pointer to kLanes scores, place of the first, how many of them there are) for all
// scores; behind the last one is kNone.
template <typename Visit>
void ForEachBlock(absl::Span<const float> scores, Visit visit) {
  const int64_t count = static_cast<int64_t>(scores.size());
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) visit(scores.data() + i, i, kLanes);
  if (i == count) return;
  float padded[kLanes];
  std::fill(std::copy(scores.begin() + i, scores.end(), padded), padded + kLanes, kNone);
  visit(padded, i, count - i);
}

}  // namespace
}  // namespace shira
#endif  // SHIRA_SERVER_SAMPLING_SCORE_SCAN_ONCE_

HWY_BEFORE_NAMESPACE();
namespace shira::HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;
using Tag = hn::CappedTag<float, kLanes>;
using Vector = hn::Vec<Tag>;

constexpr int kVectors = static_cast<int>(kLanes / hn::MaxLanes(Tag()));

// Sixteen lanes: one vector, or several.
struct Lanes {
  Vector vectors[kVectors];
};

HWY_INLINE Lanes Fill(float value) {
  Lanes lanes;
  for (Vector& vector : lanes.vectors) vector = hn::Set(Tag(), value);
  return lanes;
}

HWY_INLINE double SumOf(const Lanes& lanes) {
  HWY_ALIGN float sums[kLanes];
  for (int i = 0; i < kVectors; ++i) {
    hn::Store(lanes.vectors[i], Tag(), sums + i * hn::Lanes(Tag()));
  }
  return std::accumulate(sums, sums + kLanes, 0.0);
}

ScoreExtremes Extremes(absl::Span<const float> scores) {
  Lanes largest = Fill(kNone);
  auto nan = hn::IsNaN(hn::Zero(Tag()));
  ForEachBlock(scores, [&](const float* from, int64_t, int64_t) HWY_ATTR {
    for (Vector& vector : largest.vectors) {
      const Vector score = hn::LoadU(Tag(), from);
      nan = hn::Or(nan, hn::IsNaN(score));
      vector = hn::IfThenElse(hn::Gt(score, vector), score, vector);  // not if it is NaN
      from += hn::Lanes(Tag());
    }
  });
  Vector all = largest.vectors[0];
  for (const Vector& vector : largest.vectors) all = hn::Max(all, vector);
  return {hn::GetLane(hn::MaxOfLanes(Tag(), all)), !hn::AllFalse(Tag(), nan)};
}

int32_t FirstPlace(float score, absl::Span<const float> scores) {
  const Vector wanted = hn::Set(Tag(), score);
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(Tag()));
  const int64_t count = static_cast<int64_t>(scores.size());
  int64_t i = 0;
  for (; i + lanes <= count; i += lanes) {
    const auto equal = hn::Eq(hn::LoadU(Tag(), scores.data() + i), wanted);
    if (!hn::AllFalse(Tag(), equal)) break;
  }
  const auto found = std::find(scores.begin() + i, scores.end(), score);
  return found == scores.end() ? -1 : static_cast<int32_t>(found - scores.begin());
}

void Keep(float least, float temperature, absl::Span<const float> scores,
          std::vector<int32_t>& tokens, std::vector<float>& kept) {
  const Tag d;
  const hn::Rebind<int32_t, Tag> d32;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const Vector bound = hn::Set(d, least);
  const Vector divisor = hn::Set(d, temperature);
  size_t count = 0;
  ForEachBlock(scores, [&](const float* from, int64_t, int64_t) HWY_ATTR {
    for (int64_t i = 0; i < kLanes; i += lanes) {
      const Vector score = hn::Div(hn::LoadU(d, from + i), divisor);
      count += hn::CountTrue(d, hn::Ge(score, bound));
    }
  });
  // Whole vectors are stored.
  tokens.resize(count + kLanes);
  kept.resize(count + kLanes);
  size_t at = 0;
  ForEachBlock(scores, [&](const float* from, int64_t place, int64_t) HWY_ATTR {
    for (int64_t i = 0; i < kLanes; i += lanes) {
      const Vector score = hn::Div(hn::LoadU(d, from + i), divisor);
      const auto keep = hn::Ge(score, bound);
      if (hn::AllFalse(d, keep)) continue;
      const auto places = hn::Iota(d32, static_cast<int32_t>(place + i));
      hn::CompressStore(places, hn::RebindMask(d32, keep), d32, tokens.data() + at);
      at += hn::CompressStore(score, keep, d, kept.data() + at);
    }
  });
  tokens.resize(count);
  kept.resize(count);
}

// exp(score - best), 0 for NaN.
HWY_INLINE Vector WeightOf(Vector score, Vector best) {
  const Vector weight = hn::Exp(Tag(), hn::Sub(score, best));
  return hn::IfThenElseZero(hn::Gt(score, hn::Set(Tag(), kNone)), weight);
}

double Sum(float best, float temperature, absl::Span<const float> scores) {
  const Vector divisor = hn::Set(Tag(), temperature);
  const Vector largest = hn::Set(Tag(), best);
  Lanes sums = Fill(0.0f);
  ForEachBlock(scores, [&](const float* from, int64_t, int64_t) HWY_ATTR {
    for (Vector& sum : sums.vectors) {
      const Vector score = hn::Div(hn::LoadU(Tag(), from), divisor);
      sum = hn::Add(sum, WeightOf(score, largest));
      from += hn::Lanes(Tag());
    }
  });
  return SumOf(sums);
}

// weights, [scores.size()], and their sum.
double WeighBlock(float best, absl::Span<const float> scores, float* weights) {
  const Vector largest = hn::Set(Tag(), best);
  Lanes sums = Fill(0.0f);
  ForEachBlock(scores, [&](const float* from, int64_t place, int64_t count) HWY_ATTR {
    HWY_ALIGN float block[kLanes];
    float* to = block;
    for (Vector& sum : sums.vectors) {
      const Vector weight = WeightOf(hn::LoadU(Tag(), from), largest);
      sum = hn::Add(sum, weight);
      hn::Store(weight, Tag(), to);
      from += hn::Lanes(Tag());
      to += hn::Lanes(Tag());
    }
    std::copy_n(block, count, weights + place);
  });
  return SumOf(sums);
}

}  // namespace
}  // namespace shira::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace shira {

HWY_EXPORT(Extremes);
HWY_EXPORT(FirstPlace);
HWY_EXPORT(Keep);
HWY_EXPORT(Sum);
HWY_EXPORT(WeighBlock);

ScoreExtremes ExtremesOf(absl::Span<const float> scores) {
  return HWY_DYNAMIC_DISPATCH(Extremes)(scores);
}

int32_t FirstPlaceOf(float score, absl::Span<const float> scores) {
  return HWY_DYNAMIC_DISPATCH(FirstPlace)(score, scores);
}

void KeepAtLeast(float least, float temperature, absl::Span<const float> scores,
                 std::vector<int32_t>& tokens, std::vector<float>& kept) {
  HWY_DYNAMIC_DISPATCH(Keep)(least, temperature, scores, tokens, kept);
}

double SumOfWeights(float best, float temperature, absl::Span<const float> scores) {
  return HWY_DYNAMIC_DISPATCH(Sum)(best, temperature, scores);
}

void Weigh(float best, absl::Span<const float> scores, std::vector<float>& weights,
           std::vector<double>& block_sums) {
  const auto weigh = HWY_DYNAMIC_DISPATCH(WeighBlock);
  weights.resize(scores.size());
  block_sums.clear();
  for (size_t begin = 0; begin < scores.size(); begin += kWeightBlock) {
    block_sums.push_back(weigh(best, scores.subspan(begin, kWeightBlock), weights.data() + begin));
  }
}

}  // namespace shira
#endif  // HWY_ONCE
