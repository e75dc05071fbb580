// File: server/model/kernels/growing_memory.h
//
// Scratch that a thread keeps between a kernel's calls.

#ifndef SHIRA_SERVER_MODEL_KERNELS_GROWING_MEMORY_H_
#define SHIRA_SERVER_MODEL_KERNELS_GROWING_MEMORY_H_

#include <cstdint>
#include <vector>

namespace shira {

// Aligned for every vector, and only ever grows.
class GrowingMemory {
 public:
  // Room for `count` floats, 64-byte aligned; what was in it is lost when it grows.
  float* Floats(int64_t count) {
    constexpr uintptr_t kAlignment = 64;
    if (count + 16 > static_cast<int64_t>(memory_.size())) memory_.resize(count + 16);
    const auto address = reinterpret_cast<uintptr_t>(memory_.data());
    const uintptr_t skipped_bytes = (kAlignment - address % kAlignment) % kAlignment;
    const auto skipped = static_cast<int64_t>(skipped_bytes / sizeof(float));
    return memory_.data() + skipped;
  }

 private:
  std::vector<float> memory_;
};

}  // namespace shira

#endif  // SHIRA_SERVER_MODEL_KERNELS_GROWING_MEMORY_H_
