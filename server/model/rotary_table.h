// File: server/model/rotary_table.h
//
// RotaryEmbedding's angles by position, kept: a forward pass looks them up.

#ifndef SHIRA_SERVER_MODEL_ROTARY_TABLE_H_
#define SHIRA_SERVER_MODEL_ROTARY_TABLE_H_

#include <ATen/ATen.h>

#include <cstdint>

#include "base/dtype.h"
#include "server/model/rotary_embedding.h"

namespace shira {

// Grows with the longest sequence so far. Not thread-safe.
class RotaryTable {
 public:
  // Angles rounded to `dtype`. `rotary` must outlive this object.
  RotaryTable(const RotaryEmbedding& rotary, DType dtype) : rotary_(rotary), dtype_(dtype) {}

  // Makes every position below `positions` available. Throws what LibTorch throws.
  void Reserve(int64_t positions);

  // [head_dim / 2] of a position, valid until the next Reserve(). REQUIRES: it was reserved.
  const float* cos(int64_t position) const { return Row(cos_, position); }
  const float* sin(int64_t position) const { return Row(sin_, position); }

 private:
  static const float* Row(const at::Tensor& table, int64_t position) {
    return table.const_data_ptr<float>() + position * table.size(1);
  }

  const RotaryEmbedding& rotary_;
  const DType dtype_;
  int64_t positions_ = 0;
  at::Tensor cos_, sin_;  // [positions_, head_dim / 2], fp32 with values of dtype_
};

}  // namespace shira

#endif  // SHIRA_SERVER_MODEL_ROTARY_TABLE_H_
