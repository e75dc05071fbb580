// File: server/engine/step_cost_measurement.h
//
// What steps cost on this machine with this model, found out by running some before the first
// request.

#ifndef SHIRA_SERVER_ENGINE_STEP_COST_MEASUREMENT_H_
#define SHIRA_SERVER_ENGINE_STEP_COST_MEASUREMENT_H_

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "adapters/switch/switch_engine.h"
#include "server/engine/step_costs.h"
#include "server/executor/model_executor.h"

namespace shira {

// Runs steps of zeros, fused and, where the executor mixes states, patched, and switches to and fro, for about `budget` (each kind
// once even if that takes longer). The patches and switches are those of a state that changes
// nothing: its entries, as many per matrix as an adapter of rank 2 has, hold the base's own values.
// So the weights are at every moment what they were; at the end the base is resident. REQUIRES: the
// base is resident; the executor is not in use. Errors of the executor, and RESOURCE_EXHAUSTED
// when there is no KV memory for one sequence.
absl::StatusOr<StepCosts> MeasureStepCosts(ModelExecutor& executor, SwitchEngine& switch_engine,
                                           absl::Duration budget);

}  // namespace shira

#endif  // SHIRA_SERVER_ENGINE_STEP_COST_MEASUREMENT_H_
