#include "server/model/expert_routing.h"

#include <algorithm>
#include <cmath>

#include "base/float_types.h"
#include "server/model/kernels/resident_types.h"

namespace shira {

ExpertRouting::ExpertRouting(const Mixture& mixture, DType dtype, int64_t max_tokens)
    : mixture_(mixture),
      dtype_(dtype),
      experts_(max_tokens * mixture.experts_per_token),
      weights_(experts_.size()),
      rows_(experts_.size()),
      tokens_(experts_.size()),
      first_rows_(mixture.experts + 1) {}

void ExpertRouting::Choose(int64_t token, const float* scores) {
  const int64_t wanted = mixture_.experts_per_token;
  int64_t* best = experts_.data() + token * wanted;
  int64_t found = 0;
  for (int64_t expert = 0; expert < mixture_.experts; ++expert) {
    // Behind all that are as good. A number is better than what is none.
    int64_t at = found;
    const auto beats = [&](int64_t other) {
      return scores[expert] > scores[other] ||
             (std::isnan(scores[other]) && !std::isnan(scores[expert]));
    };
    while (at > 0 && beats(best[at - 1])) --at;
    if (at == wanted) continue;
    if (found < wanted) ++found;
    std::copy_backward(best + at, best + found - 1, best + found);
    best[at] = expert;
  }

  const float highest = scores[best[0]];
  const auto power = [&](int64_t expert) { return std::exp(scores[expert] - highest); };
  float all = 0.0f;
  for (int64_t expert = 0; expert < mixture_.experts; ++expert) all += power(expert);
  float* weights = weights_.data() + token * wanted;
  float chosen = 0.0f;
  for (int64_t i = 0; i < wanted; ++i) {
    weights[i] = power(best[i]) / all;
    chosen += weights[i];
  }
  for (int64_t i = 0; i < wanted; ++i) {
    if (mixture_.normalised) weights[i] /= chosen;
    if (!mixture_.rounds_weights) continue;
    WithResidentType(dtype_,
                     [&]<typename T>(T) { weights[i] = ToFloat(FromFloat<T>(weights[i])); });
  }
}

void ExpertRouting::Sort(int64_t tokens) {
  const int64_t used = tokens * mixture_.experts_per_token;
  std::fill(first_rows_.begin(), first_rows_.end(), 0);
  for (int64_t i = 0; i < used; ++i) ++first_rows_[experts_[i] + 1];
  for (int64_t expert = 0; expert < mixture_.experts; ++expert) {
    first_rows_[expert + 1] += first_rows_[expert];
  }
  for (int64_t i = 0; i < used; ++i) {
    const int64_t row = first_rows_[experts_[i]]++;
    rows_[i] = row;
    tokens_[row] = i / mixture_.experts_per_token;
  }
  // Each expert's first row has moved to its end, which is the next one's first.
  for (int64_t expert = mixture_.experts; expert > 0; --expert) {
    first_rows_[expert] = first_rows_[expert - 1];
  }
  first_rows_[0] = 0;
}

}  // namespace shira
