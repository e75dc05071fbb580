#include "server/model/torch_parallel.h"

#include <ATen/Parallel.h>

namespace shira {

ParallelFor TorchParallelFor() {
  return [](int64_t count, absl::FunctionRef<void(int64_t, int64_t)> body) {
    at::parallel_for(0, count, /*grain_size=*/1, body);
  };
}

}  // namespace shira
