// File: server/model/rotary_table.h
//
// RotaryEmbedding's angles by position, kept: a forward pass looks them up.

#ifndef SHIRA_SERVER_MODEL_ROTARY_TABLE_H_
#define SHIRA_SERVER_MODEL_ROTARY_TABLE_H_

#include <cstdint>

#include "base/dtype.h"
#include "server/model/rotary_embedding.h"

namespace shira {

// Grows with the longest sequence so far. Not thread-safe.
class RotaryTable {
 public:
  // Angles of heads of `head_dim` rounded to `dtype`.
  RotaryTable(const Rope& rope, int64_t head_dim, DType dtype)
      : rotary_(rope, head_dim), frequencies_(rotary_.frequencies()), dtype_(dtype) {}

  // Elements of a head that are turned, its first ones.
  int64_t rotary_dim() const { return 2 * frequencies_; }

  // Makes every position below `positions` available. Throws what RotaryEmbedding throws.
  void Reserve(int64_t positions);

  // [rotary_dim() / 2] of a position, valid until the next Reserve(). REQUIRES: it was reserved.
  const float* cos(int64_t position) const { return angles_.cos.data() + position * frequencies_; }
  const float* sin(int64_t position) const { return angles_.sin.data() + position * frequencies_; }
  // What the queries of a position are multiplied by; 1 for most models. REQUIRES: as above.
  float query_scale(int64_t position) const {
    return angles_.query_scales.empty() ? 1.0f : angles_.query_scales[position];
  }

 private:
  RotaryEmbedding rotary_;
  int64_t frequencies_;
  DType dtype_;
  int64_t positions_ = 0;
  RotaryEmbedding::Angles angles_;  // [positions_, frequencies_]
};

}  // namespace shira

#endif  // SHIRA_SERVER_MODEL_ROTARY_TABLE_H_
