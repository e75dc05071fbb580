// File: server/jinja/sort.h
//
// Python's sorted(): stable, and an error when two keys have no order.

#ifndef SHIRA_SERVER_JINJA_SORT_H_
#define SHIRA_SERVER_JINJA_SORT_H_

#include <cstddef>
#include <vector>

#include "absl/status/statusor.h"
#include "server/jinja/value.h"

namespace shira::jinja {

// The indices of `keys` in sorted order. `reverse` keeps equal keys in their order, as Python does.
absl::StatusOr<std::vector<size_t>> SortedOrder(const std::vector<Value>& keys, bool reverse,
                                                Budget& budget);

}  // namespace shira::jinja

#endif  // SHIRA_SERVER_JINJA_SORT_H_
