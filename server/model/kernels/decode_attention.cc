// A sequence is cut into pieces of positions by its length alone, so that one long sequence
// occupies all threads and yet always adds in the same order. Each (sequence, key head, piece) is a
// unit of work; a unit walks through its positions block by block with a running maximum (a softmax
// that needs one pass), for every query head that shares the key head while the block is in cache.
// Pieces are merged in order.

#include "server/model/kernels/decode_attention.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>

#include "server/model/kernels/resident_types.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "server/model/kernels/decode_attention.cc"
#include <hwy/foreach_target.h>  // IWYU pragma: keep
// After foreach_target.h.
#include <hwy/contrib/math/math-inl.h>
#include <hwy/highway.h>

#include "server/model/kernels/vector_types-inl.h"

#ifndef SHIRA_SERVER_MODEL_KERNELS_DECODE_ATTENTION_ONCE_
#define SHIRA_SERVER_MODEL_KERNELS_DECODE_ATTENTION_ONCE_
namespace shira {
namespace {

constexpr int64_t kBlock = 64;      // positions whose scores are kept at a time
constexpr int64_t kMinPiece = 256;  // positions; below, a piece is not worth a unit of its own
constexpr int64_t kMaxPieces = 8;

int64_t RoundUp(int64_t value, int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

// Positions per piece of a sequence, a function of nothing else.
int64_t PieceLength(int64_t length) {
  return std::max(kMinPiece, RoundUp((length + kMaxPieces - 1) / kMaxPieces, kBlock));
}
int64_t Pieces(int64_t length) { return (length + PieceLength(length) - 1) / PieceLength(length); }

// What a piece leaves behind for one query head: head_dim sums of exp(score - maximum) * value,
// then the sum of the exponentials, then the maximum.
int64_t PartSize(const DecodeAttentionShape& shape) { return shape.head_dim + 2; }

// The place of a (row, piece, head).
float* Part(const DecodeAttentionShape& shape, float* scratch, int64_t row, int64_t piece,
            int64_t head) {
  return scratch + ((row * kMaxPieces + piece) * shape.num_heads + head) * PartSize(shape);
}

}  // namespace
}  // namespace shira
#endif  // SHIRA_SERVER_MODEL_KERNELS_DECODE_ATTENTION_ONCE_

HWY_BEFORE_NAMESPACE();
namespace shira::HWY_NAMESPACE {
namespace {

// scores[i] = query . keys[i] * scale for `count` positions.
template <typename T>
HWY_ATTR void Scores(const float* HWY_RESTRICT query, const T* HWY_RESTRICT keys, int64_t head_dim,
                     int64_t count, float scale, float* HWY_RESTRICT scores) {
  const FloatTag d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  for (int64_t i = 0; i < count; ++i, keys += head_dim) {
    FloatVector sum = hn::Zero(d);
    int64_t k = 0;
    for (; k + lanes <= head_dim; k += lanes) {
      sum = hn::MulAdd(hn::LoadU(d, query + k), Widen(keys + k), sum);
    }
    if (k < head_dim) {
      const size_t rest = static_cast<size_t>(head_dim - k);
      sum = hn::MulAdd(WidenSome(query + k, rest), WidenSome(keys + k, rest), sum);
    }
    scores[i] = SumOf(sum) * scale;
  }
}

// sums = sums * keep + sum of weights[i] * values[i] over `count` positions.
template <typename T>
HWY_ATTR void AddValues(const float* HWY_RESTRICT weights, const T* HWY_RESTRICT values,
                        int64_t head_dim, int64_t count, float keep, float* HWY_RESTRICT sums) {
  const FloatTag d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const FloatVector factor = hn::Set(d, keep);
  int64_t k = 0;
  for (; k + 4 * lanes <= head_dim; k += 4 * lanes) {
    FloatVector s0 = hn::Mul(hn::LoadU(d, sums + k), factor);
    FloatVector s1 = hn::Mul(hn::LoadU(d, sums + k + lanes), factor);
    FloatVector s2 = hn::Mul(hn::LoadU(d, sums + k + 2 * lanes), factor);
    FloatVector s3 = hn::Mul(hn::LoadU(d, sums + k + 3 * lanes), factor);
    for (int64_t i = 0; i < count; ++i) {
      const T* from = values + i * head_dim + k;
      const FloatVector weight = hn::Set(d, weights[i]);
      s0 = hn::MulAdd(weight, Widen(from), s0);
      s1 = hn::MulAdd(weight, Widen(from + lanes), s1);
      s2 = hn::MulAdd(weight, Widen(from + 2 * lanes), s2);
      s3 = hn::MulAdd(weight, Widen(from + 3 * lanes), s3);
    }
    hn::StoreU(s0, d, sums + k);
    hn::StoreU(s1, d, sums + k + lanes);
    hn::StoreU(s2, d, sums + k + 2 * lanes);
    hn::StoreU(s3, d, sums + k + 3 * lanes);
  }
  for (; k < head_dim; k += lanes) {
    const size_t rest = static_cast<size_t>(head_dim - k);
    FloatVector sum = hn::Mul(WidenSome(sums + k, rest), factor);
    for (int64_t i = 0; i < count; ++i) {
      sum = hn::MulAdd(hn::Set(d, weights[i]), WidenSome(values + i * head_dim + k, rest), sum);
    }
    StoreSome(sum, sums + k, rest);
  }
}

// scores[i] = exp(scores[i] - maximum) for kBlock scores, of which those from `count` on are
// minus infinity. Returns their sum.
HWY_ATTR float Exponentials(float maximum, int64_t count, float* scores) {
  const FloatTag d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const FloatVector shift = hn::Set(d, maximum);
  FloatVector sum = hn::Zero(d);
  for (int64_t i = 0; i < count; i += lanes) {
    const FloatVector power = hn::Exp(d, hn::Sub(hn::LoadU(d, scores + i), shift));
    hn::StoreU(power, d, scores + i);
    sum = hn::Add(sum, power);
  }
  return SumOf(sum);
}

// One unit of work.
template <typename T>
HWY_ATTR void AttendPiece(const DecodeAttentionShape& shape, const DecodeAttentionRow& row,
                          int64_t row_index, int64_t kv_head, int64_t piece, float* scratch) {
  const int64_t head_dim = shape.head_dim;
  const int64_t group = shape.num_heads / shape.num_kv_heads;
  const int64_t begin = piece * PieceLength(row.length);
  const int64_t end = std::min(row.length, begin + PieceLength(row.length));
  const T* keys = static_cast<const T*>(row.keys) + kv_head * row.stride * head_dim;
  const T* values = static_cast<const T*>(row.values) + kv_head * row.stride * head_dim;
  const float scale = 1.0f / std::sqrt(static_cast<float>(head_dim));
  const auto part = [&](int64_t i) {
    return Part(shape, scratch, row_index, piece, kv_head * group + i);
  };
  for (int64_t i = 0; i < group; ++i) {
    std::fill_n(part(i), head_dim + 1, 0.0f);
    part(i)[head_dim + 1] = -std::numeric_limits<float>::infinity();
  }
  for (int64_t at = begin; at < end; at += kBlock) {
    const int64_t count = std::min(kBlock, end - at);
    for (int64_t i = 0; i < group; ++i) {
      float* sums = part(i);
      float& total = sums[head_dim];
      float& maximum = sums[head_dim + 1];
      float scores[kBlock];
      Scores(row.queries + (kv_head * group + i) * head_dim, keys + at * head_dim, head_dim, count,
             scale, scores);
      std::fill(scores + count, scores + kBlock, -std::numeric_limits<float>::infinity());
      const float new_maximum = std::max(maximum, *std::max_element(scores, scores + count));
      const float keep = std::exp(maximum - new_maximum);
      total = total * keep + Exponentials(new_maximum, count, scores);
      AddValues(scores, values + at * head_dim, head_dim, count, keep, sums);
      maximum = new_maximum;
    }
  }
}

// Adds up a head's pieces in order.
template <typename T>
HWY_ATTR void MergePieces(const DecodeAttentionShape& shape, const DecodeAttentionRow& row,
                          int64_t row_index, int64_t head, float* scratch) {
  const FloatTag d;
  const int64_t head_dim = shape.head_dim;
  const int64_t pieces = Pieces(row.length);
  float* sums = Part(shape, scratch, row_index, 0, head);
  float& total = sums[head_dim];
  float& maximum = sums[head_dim + 1];
  for (int64_t piece = 1; piece < pieces; ++piece) {
    const float* next = Part(shape, scratch, row_index, piece, head);
    const float new_maximum = std::max(maximum, next[head_dim + 1]);
    const float keep = std::exp(maximum - new_maximum);
    const float take = std::exp(next[head_dim + 1] - new_maximum);
    for (int64_t k = 0; k < head_dim; ++k) sums[k] = sums[k] * keep + next[k] * take;
    total = total * keep + next[head_dim] * take;
    maximum = new_maximum;
  }
  const FloatVector inverse = hn::Set(d, 1.0f / total);
  float* output = row.output + head * head_dim;
  for (int64_t k = 0; k < head_dim; k += static_cast<int64_t>(hn::Lanes(d))) {
    const size_t rest = static_cast<size_t>(head_dim - k);
    StoreSome(RoundTo<T>(hn::Mul(WidenSome(sums + k, rest), inverse)), output + k, rest);
  }
}

void AttendTyped(const DecodeAttentionShape& shape, const DecodeAttentionRow& row,
                 int64_t row_index, int64_t kv_head, int64_t piece, float* scratch) {
  WithResidentType(shape.dtype, [&]<typename T>(T) {
    AttendPiece<T>(shape, row, row_index, kv_head, piece, scratch);
  });
}

void MergeTyped(const DecodeAttentionShape& shape, const DecodeAttentionRow& row, int64_t row_index,
                int64_t head, float* scratch) {
  WithResidentType(shape.dtype,
                   [&]<typename T>(T) { MergePieces<T>(shape, row, row_index, head, scratch); });
}

}  // namespace
}  // namespace shira::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace shira {

HWY_EXPORT(AttendTyped);
HWY_EXPORT(MergeTyped);

int64_t DecodeAttentionScratch(const DecodeAttentionShape& shape, int64_t rows) {
  return rows * kMaxPieces * shape.num_heads * PartSize(shape);
}

void DecodeAttention(const DecodeAttentionShape& shape, absl::Span<const DecodeAttentionRow> rows,
                     float* scratch, const ParallelFor& parallel_for) {
  const auto attend = HWY_DYNAMIC_DISPATCH(AttendTyped);
  const auto merge = HWY_DYNAMIC_DISPATCH(MergeTyped);
  int64_t positions = 0;
  int64_t units = 0;
  for (const DecodeAttentionRow& row : rows) {
    positions += row.length;
    units += Pieces(row.length) * shape.num_kv_heads;
  }
  const auto attend_units = [&](int64_t begin, int64_t end) {
    int64_t unit = 0;
    for (size_t i = 0; i < rows.size(); ++i) {
      const int64_t row_units = Pieces(rows[i].length) * shape.num_kv_heads;
      const int64_t last = std::min(end, unit + row_units);
      for (int64_t u = std::max(begin, unit); u < last; ++u) {
        attend(shape, rows[i], static_cast<int64_t>(i), (u - unit) % shape.num_kv_heads,
               (u - unit) / shape.num_kv_heads, scratch);
      }
      unit += row_units;
    }
  };
  // Waking the other threads costs some microseconds: as much as this many products.
  constexpr int64_t kWorthThreads = 200'000;
  if (positions * shape.num_heads * shape.head_dim < kWorthThreads) {
    attend_units(0, units);
  } else {
    parallel_for(units, attend_units);
  }
  for (size_t i = 0; i < rows.size(); ++i) {
    for (int64_t head = 0; head < shape.num_heads; ++head) {
      merge(shape, rows[i], static_cast<int64_t>(i), head, scratch);
    }
  }
}

}  // namespace shira
#endif  // HWY_ONCE
