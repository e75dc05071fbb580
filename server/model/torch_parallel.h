// File: server/model/torch_parallel.h
//
// LibTorch's thread pool as a ParallelFor, for the libraries that know nothing of LibTorch.

#ifndef SHIRA_SERVER_MODEL_TORCH_PARALLEL_H_
#define SHIRA_SERVER_MODEL_TORCH_PARALLEL_H_

#include "base/parallel.h"

namespace shira {

// Splits a loop into one range per thread of at::get_num_threads(). Thread-safe.
ParallelFor TorchParallelFor();

}  // namespace shira

#endif  // SHIRA_SERVER_MODEL_TORCH_PARALLEL_H_
