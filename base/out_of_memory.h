// File: base/out_of_memory.h
//
// Turns an allocation that fails (std::bad_alloc) into an error status.

#ifndef SHIRA_BASE_OUT_OF_MEMORY_H_
#define SHIRA_BASE_OUT_OF_MEMORY_H_

#include <new>
#include <type_traits>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace shira {

// What work() returns, an absl::Status or absl::StatusOr; RESOURCE_EXHAUSTED if an allocation in it
// failed. What it had begun is undone by the destructors of what it used.
template <typename Work>
std::invoke_result_t<Work> CatchOutOfMemory(Work&& work) {
  try {
    return work();
  } catch (const std::bad_alloc&) {
    return absl::ResourceExhaustedError("the server is out of memory: try again later");
  }
}

}  // namespace shira

#endif  // SHIRA_BASE_OUT_OF_MEMORY_H_
