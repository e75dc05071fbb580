#include "server/model/batch_plan.h"

#include <algorithm>
#include <iterator>
#include <numeric>

namespace shira {

const Segment& Slice::segment_of(int64_t token) const {
  const auto after = std::upper_bound(
      segments.begin(), segments.end(), token,
      [](int64_t wanted, const Segment& segment) { return wanted < segment.begin; });
  return *std::prev(after);
}

void BatchPlan::Make(const DecoderWeights& weights, const CompiledState& resident,
                     absl::Span<const BatchRow> rows, int64_t max_tokens) {
  FindStates(weights, resident, rows);
  used_slices_ = 0;
  Slice* slice = &NextSlice();
  for (const int64_t row : order_) {
    const int64_t tokens = static_cast<int64_t>(rows[row].tokens.size());
    for (int64_t first = 0; first < tokens;) {
      if (slice->tokens == max_tokens) slice = &NextSlice();
      const int64_t count = std::min(tokens - first, max_tokens - slice->tokens);
      slice->segments.push_back({.row = row,
                                 .begin = slice->tokens,
                                 .first = first,
                                 .tokens = count,
                                 .position = rows[row].cache->length() + first,
                                 .state = states_[row]});
      if (slice->groups.empty() || slice->groups.back().state != states_[row]) {
        slice->groups.push_back(
            {.state = states_[row], .begin = slice->tokens, .end = slice->tokens});
      }
      slice->tokens += count;
      slice->groups.back().end = slice->tokens;
      first += count;
    }
  }
}

void BatchPlan::FindStates(const DecoderWeights& weights, const CompiledState& resident,
                           absl::Span<const BatchRow> rows) {
  distinct_.clear();
  states_.clear();
  for (const BatchRow& row : rows) {
    const auto found =
        std::find_if(distinct_.begin(), distinct_.end(), [&](const CompiledState* state) {
          return state == row.state || state->key == row.state->key;
        });
    states_.push_back(found - distinct_.begin());
    if (found == distinct_.end()) distinct_.push_back(row.state);
  }
  if (patches_.size() < distinct_.size()) patches_.resize(distinct_.size());
  for (size_t i = 0; i < distinct_.size(); ++i) {
    patches_[i].Make(weights, resident, *distinct_[i]);
  }
  order_.resize(rows.size());
  std::iota(order_.begin(), order_.end(), 0);
  std::sort(order_.begin(), order_.end(), [this](int64_t a, int64_t b) {
    return states_[a] != states_[b] ? states_[a] < states_[b] : a < b;
  });
}

Slice& BatchPlan::NextSlice() {
  if (used_slices_ == static_cast<int64_t>(slices_.size())) slices_.emplace_back();
  Slice& slice = slices_[used_slices_++];
  slice.segments.clear();
  slice.groups.clear();
  slice.tokens = 0;
  return slice;
}

}  // namespace shira
