// File: server/model/activations.h
//
// The memory of a forward pass between its kernels, allocated once.

#ifndef SHIRA_SERVER_MODEL_ACTIVATIONS_H_
#define SHIRA_SERVER_MODEL_ACTIVATIONS_H_

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <vector>

#include "server/model/model_config.h"

namespace shira {

// 64-byte aligned and without values. Throws std::bad_alloc.
class AlignedBuffer {
 public:
  explicit AlignedBuffer(int64_t bytes);

  std::byte* bytes() const { return memory_.get(); }
  float* floats() const { return reinterpret_cast<float*>(memory_.get()); }

 private:
  struct FreeMemory {
    void operator()(std::byte* memory) const { std::free(memory); }
  };
  std::unique_ptr<std::byte, FreeMemory> memory_;
};

// Activations are fp32 with values of the resident dtype; every buffer has room for the tokens of a
// slice, the first tokens at its front. In a mixture of experts each token has a row for each expert
// that it uses: "rows" are tokens * experts_per_token.
class Activations {
  std::vector<AlignedBuffer> buffers_;  // first: it owns what the others point to
  float* Allocate(int64_t floats);

 public:
  Activations(const ModelConfig& config, int64_t tokens);

  const int64_t tokens;
  float* const hidden;    // [tokens, hidden]: the residual stream
  float* const normed;    // [tokens, hidden]
  float* const branch;    // [tokens, hidden]: what is added to the stream
  float* const qkv;       // [tokens, (heads + 2 * kv_heads) * head_dim]: queries, keys, values
  float* const by_head;   // the same in the order of QueryKeyValueRows::kByHead; else null
  float* const attended;  // [tokens, heads * head_dim]
  float* const
      gate_up;          // [tokens, 2 * intermediate], or [tokens, intermediate]; or rows of experts
  float* const gated;   // [tokens, intermediate]; or rows of experts
  float* const scores;  // [tokens, experts], of the router; null without a mixture
  // [rows, hidden]: what experts see, then what they give; null without a mixture
  float* const expert_rows;
  std::byte* const linear_scratch;  // for Linear() over the widest input
};

}  // namespace shira

#endif  // SHIRA_SERVER_MODEL_ACTIVATIONS_H_
