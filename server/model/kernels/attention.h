// File: server/model/kernels/attention.h
//
// Attention of a whole batch, decoding rows and prompts alike, shared out among threads. A row's
// output does not depend on the other rows, on how its prompt was cut into chunks, or on the
// threads.

#ifndef SHIRA_SERVER_MODEL_KERNELS_ATTENTION_H_
#define SHIRA_SERVER_MODEL_KERNELS_ATTENTION_H_

#include <atomic>
#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "base/parallel.h"
#include "server/model/kernels/attention_kernel.h"

namespace shira {

// Holds what the kernel needs between its parts. Not thread-safe.
class Attention {
 public:
  explicit Attention(const AttentionShape& shape);
  ~Attention();

  // Shares the work out: looks at the rows' start and tokens only, so one plan serves all layers.
  void Plan(absl::Span<const AttentionRow> rows);

  // softmax(scores) v over the positions up to the query's own, as far back as the row's window
  // reaches, in fp32; a score is q k as the shape scales and caps it, or a sink's. Allocates nothing.
  // REQUIRES: the rows' starts and tokens are those of the last Plan(); windows and sinks may be others.
  void Run(absl::Span<const AttentionRow> rows, const ParallelFor& parallel_for);

 private:
  struct Unit;
  void PlanRow(int64_t index, const AttentionRow& row);
  // `next`: the unit that the thread takes after it, or null.
  void RunUnit(absl::Span<const AttentionRow> rows, const Unit& unit, const Unit* next);

  const AttentionShape shape_;
  std::vector<Unit> units_;
  int64_t products_ = 0;  // about, of all units
  // A decoding row's context is shared out in pieces, each of which leaves a part.
  std::vector<float> parts_;
  // Pieces that are not done, for each (decoding row, key head): who does the last adds up.
  std::vector<std::atomic<int64_t>> pending_;
  std::vector<int64_t> pieces_;  // what they start from
  int64_t part_floats_ = 0;
};

}  // namespace shira

#endif  // SHIRA_SERVER_MODEL_KERNELS_ATTENTION_H_
