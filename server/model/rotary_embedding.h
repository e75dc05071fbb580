// File: server/model/rotary_embedding.h
//
// The angles of rotary positions, as transformers computes them, bit for bit: frequencies, cosines
// and sines in fp32, then rounded to the model's dtype; and what scales queries by position. LibTorch computes them, since its sines are
// transformers'; none of its types leave this pair of files.

#ifndef SHIRA_SERVER_MODEL_ROTARY_EMBEDDING_H_
#define SHIRA_SERVER_MODEL_ROTARY_EMBEDDING_H_

#include <cstdint>
#include <vector>

#include "base/dtype.h"
#include "server/model/model_config.h"

namespace shira {

// Immutable. Methods throw what LibTorch throws: torch_status.h makes a status of it.
class RotaryEmbedding {
 public:
  // For heads of `head_dim`.
  RotaryEmbedding(const Rope& rope, int64_t head_dim);

  int64_t frequencies() const { return static_cast<int64_t>(inverse_frequencies_.size()); }

  // [positions, frequencies()], fp32 with values of a dtype.
  struct Angles {
    std::vector<float> cos;
    std::vector<float> sin;
    std::vector<float> query_scales;  // [positions]; empty where queries stay as they are
  };
  // Of the positions 0 to positions - 1, rounded to `dtype` (kF32, kBF16 or kF16).
  Angles Below(int64_t positions, DType dtype) const;

 private:
  std::vector<float> inverse_frequencies_;  // [rotary_dim / 2]
  double attention_factor_;
  double query_scale_beta_;
  int64_t original_max_position_;
};

}  // namespace shira

#endif  // SHIRA_SERVER_MODEL_ROTARY_EMBEDDING_H_
