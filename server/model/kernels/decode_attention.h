// File: server/model/kernels/decode_attention.h
//
// Attention of one new token per sequence over the sequence's keys and values.

#ifndef SHIRA_SERVER_MODEL_KERNELS_DECODE_ATTENTION_H_
#define SHIRA_SERVER_MODEL_KERNELS_DECODE_ATTENTION_H_

#include <cstdint>

#include "absl/types/span.h"
#include "base/dtype.h"
#include "base/parallel.h"

namespace shira {

struct DecodeAttentionShape {
  DType dtype = DType::kF32;  // of keys and values: kF32, kBF16 or kF16
  int64_t num_heads = 0;
  int64_t num_kv_heads = 0;  // divides num_heads
  int64_t head_dim = 0;
};

// One sequence. Its token is the last of `length` (> 0) positions.
struct DecodeAttentionRow {
  const float* queries = nullptr;  // [num_heads, head_dim], values of the dtype
  const void* keys = nullptr;      // [num_kv_heads, stride, head_dim]; positions from `length` on
  const void* values = nullptr;    // are not read
  int64_t stride = 0;
  int64_t length = 0;
  float* output = nullptr;  // [num_heads, head_dim], rounded to the dtype; may be `queries`
};

// Floats of scratch that DecodeAttention() needs.
int64_t DecodeAttentionScratch(const DecodeAttentionShape& shape, int64_t rows);

// softmax(q k / sqrt(head_dim)) v, all in fp32, for each row. A row's output is the same bit for
// bit whatever the other rows, and however parallel_for splits the loop.
void DecodeAttention(const DecodeAttentionShape& shape, absl::Span<const DecodeAttentionRow> rows,
                     float* scratch, const ParallelFor& parallel_for);

}  // namespace shira

#endif  // SHIRA_SERVER_MODEL_KERNELS_DECODE_ATTENTION_H_
