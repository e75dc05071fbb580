// File: server/model/batch_plan.h
//
// A batch in the order in which it is computed: rows of one state together, cut into slices that
// the buffers have room for.

#ifndef SHIRA_SERVER_MODEL_BATCH_PLAN_H_
#define SHIRA_SERVER_MODEL_BATCH_PLAN_H_

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "adapters/switch/compiled_state.h"
#include "server/executor/batch_row.h"
#include "server/model/decoder_weights.h"
#include "server/model/patch_plan.h"

namespace shira {

// Consecutive tokens of one row in a slice.
struct Segment {
  int64_t row = 0;    // of the batch
  int64_t begin = 0;  // first of its tokens among the slice's
  int64_t first = 0;  // first of its tokens among the row's
  int64_t tokens = 0;
  int64_t position = 0;  // of the first token in the sequence
  int64_t state = 0;     // of the plan
};

// Consecutive tokens of one state in a slice.
struct StateGroup {
  int64_t state = 0;
  int64_t begin = 0;
  int64_t end = 0;
};

struct Slice {
  std::vector<Segment> segments;
  std::vector<StateGroup> groups;
  int64_t tokens = 0;

  const Segment& segment_of(int64_t token) const;
};

// Made again for each step; keeps its memory.
class BatchPlan {
 public:
  // REQUIRES: rows and max_tokens are not empty.
  void Make(const DecoderWeights& weights, const CompiledState& resident,
            absl::Span<const BatchRow> rows, int64_t max_tokens);

  absl::Span<const Slice> slices() const {
    return absl::MakeConstSpan(slices_).first(used_slices_);
  }
  // How a state's weights differ from those in memory.
  const PatchPlan& patches(int64_t state) const { return patches_[state]; }
  // The state of a row of the batch.
  int64_t state_of(int64_t row) const { return states_[row]; }

 private:
  void FindStates(const DecoderWeights& weights, const CompiledState& resident,
                  absl::Span<const BatchRow> rows);
  Slice& NextSlice();

  std::vector<const CompiledState*> distinct_;  // by state
  std::vector<PatchPlan> patches_;              // by state; there may be more
  std::vector<int64_t> states_;                 // by row of the batch
  std::vector<int64_t> order_;                  // rows of the batch, by state
  std::vector<Slice> slices_;                   // there may be more
  int64_t used_slices_ = 0;
};

}  // namespace shira

#endif  // SHIRA_SERVER_MODEL_BATCH_PLAN_H_
