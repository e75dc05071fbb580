// File: base/parallel.h
//
// How a library runs a loop on the process's threads: the owner of the ThreadTeam passes in a
// ParallelFor. Two pools in one process would compete for the cores.

#ifndef SHIRA_BASE_PARALLEL_H_
#define SHIRA_BASE_PARALLEL_H_

#include <cstdint>
#include <functional>

#include "absl/functional/function_ref.h"

namespace shira {

// Calls body(begin, end) for disjoint ranges that cover [0, count), possibly at the same time on
// several threads; returns when all have returned. A body must not throw.
using ParallelFor =
    std::function<void(int64_t count, absl::FunctionRef<void(int64_t begin, int64_t end)> body)>;

// The whole range on the calling thread.
inline void SerialFor(int64_t count, absl::FunctionRef<void(int64_t, int64_t)> body) {
  if (count > 0) body(0, count);
}

}  // namespace shira

#endif  // SHIRA_BASE_PARALLEL_H_
