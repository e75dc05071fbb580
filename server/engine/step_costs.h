// File: server/engine/step_costs.h
//
// How long a step takes, as a sum of what it does: the numbers by which the planner chooses. They
// are measured at the start (step_cost_measurement.h) and follow what real steps take.
//
// Pure arithmetic, in seconds as double: an entry costs a few nanoseconds.

#ifndef SHIRA_SERVER_ENGINE_STEP_COSTS_H_
#define SHIRA_SERVER_ENGINE_STEP_COSTS_H_

#include <array>
#include <cstdint>

#include "absl/time/time.h"

namespace shira {

// What decides how long a forward pass takes.
struct StepShape {
  int64_t decode_rows = 0;     // and tokens that are drafted behind them, which cost as much
  int64_t decode_context = 0;  // tokens that the decode rows look back at, over all of them
  int64_t prefill_tokens = 0;
  // Of these, in states that are not resident:
  int64_t patched_states = 0;
  int64_t patched_entries = 0;  // over those states
  int64_t patched_tokens = 0;   // decode rows and prefill tokens
};

class StepCosts {
 public:
  // Decode rows for which the time of a fused step is kept; linear in between and beyond.
  static constexpr std::array<int64_t, 6> kRows = {1, 2, 4, 8, 16, 32};

  // All in seconds; at least kLeast each.
  struct Coefficients {
    std::array<double, kRows.size()> step = {10e-3, 11e-3, 12e-3, 15e-3, 25e-3, 45e-3};
    double context_token = 2e-7;
    double prefill_token = 5e-4;
    double patched_state = 2e-4;
    double patched_entry = 2.5e-9;
    double patched_token = 5e-5;  // beyond the cost of the same token in the resident state
    double switch_base = 1e-4;
    double switch_entry = 4e-9;  // of the state that is left, and of the one that is gone to
  };
  static constexpr double kLeast = 1e-12;

  // A small model on two cores.
  StepCosts() : StepCosts(Coefficients()) {}
  explicit StepCosts(const Coefficients& measured);

  const Coefficients& coefficients() const { return now_; }

  // A fused step of so many decode rows. 0 rows: as for one, since the weights are read.
  double StepSeconds(int64_t decode_rows) const;
  double PatchSeconds(int64_t states, int64_t entries, int64_t tokens) const;
  double SwitchSeconds(int64_t left_entries, int64_t entered_entries) const;
  double Seconds(const StepShape& shape) const;
  // Prompt tokens that fit `seconds` beside so many decode rows; >= 0.
  int64_t PrefillTokensWithin(double seconds, int64_t decode_rows) const;

  // Moves the numbers towards an observed time: each by its share in the expected time, never
  // beyond kDrift times or below 1 / kDrift of what was measured, so that a machine that stood
  // still for a moment does not upset the plans.
  void Observe(const StepShape& shape, absl::Duration took);
  void ObserveSwitch(int64_t left_entries, int64_t entered_entries, absl::Duration took);

  static constexpr double kDrift = 4.0;

 private:
  Coefficients now_;
  Coefficients measured_;
};

}  // namespace shira

#endif  // SHIRA_SERVER_ENGINE_STEP_COSTS_H_
