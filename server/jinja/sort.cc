#include "server/jinja/sort.h"

#include <algorithm>
#include <numeric>

#include "base/status_macros.h"

namespace shira::jinja {

// Merges runs of doubling length. std::stable_sort has no way to stop at a comparison that fails.
absl::StatusOr<std::vector<size_t>> SortedOrder(const std::vector<Value>& keys, bool reverse,
                                                Budget& budget) {
  const auto goes_before = [&](size_t a, size_t b) {
    return reverse ? Less(keys[b], keys[a], budget) : Less(keys[a], keys[b], budget);
  };
  std::vector<size_t> order(keys.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::vector<size_t> merged(keys.size());
  for (size_t run = 1; run < order.size(); run *= 2) {
    for (size_t begin = 0; begin < order.size(); begin += 2 * run) {
      const size_t middle = std::min(begin + run, order.size());
      const size_t end = std::min(begin + 2 * run, order.size());
      size_t left = begin;
      size_t right = middle;
      for (size_t out = begin; out < end; ++out) {
        bool take_right = left == middle;
        if (left < middle && right < end) {
          SHIRA_ASSIGN_OR_RETURN(take_right, goes_before(order[right], order[left]));
        }
        merged[out] = take_right ? order[right++] : order[left++];
      }
    }
    order.swap(merged);
  }
  return order;
}

}  // namespace shira::jinja
