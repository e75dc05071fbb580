// File: server/model/patch_plan.h
//
// What differs between the weights in memory and those of a state, by place in the forward pass.

#ifndef SHIRA_SERVER_MODEL_PATCH_PLAN_H_
#define SHIRA_SERVER_MODEL_PATCH_PLAN_H_

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "adapters/switch/compiled_state.h"
#include "server/model/decoder_weights.h"
#include "server/model/kernels/linear.h"

namespace shira {

// Points into both states. Making one takes microseconds, and a plan that is made again keeps its
// memory: so it is made for each step, and no plan can outlive the state that it was made of.
class PatchPlan {
 public:
  // For weights in `resident`: first the originals of what `resident` changed, then what `state`
  // changes. Where both have the same positions, the latter alone. No patches when the states are
  // the same.
  void Make(const DecoderWeights& weights, const CompiledState& resident,
            const CompiledState& state);

  // In order; later ones win. Of a vector, first_row is the parameter's first element.
  absl::Span<const WeightPatch> at(int64_t place) const {
    return absl::MakeConstSpan(patches_).subspan(begins_[place],
                                                 begins_[place + 1] - begins_[place]);
  }

 private:
  std::vector<WeightPatch> patches_;  // by place
  std::vector<int64_t> begins_;       // [places + 1]
};

}  // namespace shira

#endif  // SHIRA_SERVER_MODEL_PATCH_PLAN_H_
