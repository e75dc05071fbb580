#include "server/engine/step_costs.h"

#include <algorithm>
#include <vector>

namespace shira {
namespace {

// Of the distance between what was expected and what was seen.
constexpr double kLearningRate = 0.05;
// A step that took longer than this many times the expected one counts as this long.
constexpr double kLargestError = 1.0;

// Where a number of rows lies between the points of kRows: step[low] * (1 - part) + step[low + 1] *
// part. Beyond the last one the last segment goes on.
struct Interpolation {
  size_t low = 0;
  double part = 0.0;
};

Interpolation Interpolate(int64_t rows) {
  const auto& points = StepCosts::kRows;
  rows = std::max<int64_t>(rows, 1);
  size_t low = 0;
  while (low + 2 < points.size() && points[low + 1] <= rows) ++low;
  return {low, static_cast<double>(rows - points[low]) /
                   static_cast<double>(points[low + 1] - points[low])};
}

// One summand of an expected time.
struct Term {
  double* coefficient;
  double measured;
  double amount;
};

// Multiplies each coefficient by 1 + rate * error * its share.
void Learn(const std::vector<Term>& terms, absl::Duration took) {
  double expected = 0.0;
  for (const Term& term : terms) expected += *term.coefficient * term.amount;
  if (expected <= 0.0) return;
  const double error =
      std::clamp(absl::ToDoubleSeconds(took) / expected - 1.0, -kLargestError, kLargestError);
  for (const Term& term : terms) {
    const double share = *term.coefficient * term.amount / expected;
    *term.coefficient =
        std::clamp(*term.coefficient * (1.0 + kLearningRate * error * share),
                   term.measured / StepCosts::kDrift, term.measured * StepCosts::kDrift);
  }
}

StepCosts::Coefficients Positive(StepCosts::Coefficients c) {
  for (double& seconds : c.step) seconds = std::max(seconds, StepCosts::kLeast);
  for (double* seconds : {&c.context_token, &c.prefill_token, &c.patched_state, &c.patched_entry,
                          &c.patched_token, &c.switch_base, &c.switch_entry}) {
    *seconds = std::max(*seconds, StepCosts::kLeast);
  }
  return c;
}

}  // namespace

StepCosts::StepCosts(const Coefficients& measured)
    : now_(Positive(measured)), measured_(Positive(measured)) {}

double StepCosts::StepSeconds(int64_t decode_rows) const {
  const auto [low, part] = Interpolate(decode_rows);
  return std::max(now_.step[low] * (1.0 - part) + now_.step[low + 1] * part, kLeast);
}

double StepCosts::PatchSeconds(int64_t states, int64_t entries, int64_t tokens) const {
  return now_.patched_state * static_cast<double>(states) +
         now_.patched_entry * static_cast<double>(entries) +
         now_.patched_token * static_cast<double>(tokens);
}

double StepCosts::SwitchSeconds(int64_t left_entries, int64_t entered_entries) const {
  return now_.switch_base + now_.switch_entry * static_cast<double>(left_entries + entered_entries);
}

double StepCosts::Seconds(const StepShape& shape) const {
  return StepSeconds(shape.decode_rows) +
         now_.context_token * static_cast<double>(shape.decode_context) +
         now_.prefill_token * static_cast<double>(shape.prefill_tokens) +
         PatchSeconds(shape.patched_states, shape.patched_entries, shape.patched_tokens);
}

int64_t StepCosts::PrefillTokensWithin(double seconds, int64_t decode_rows) const {
  const double left = seconds - StepSeconds(decode_rows);
  return left <= 0.0 ? 0 : static_cast<int64_t>(std::min(left / now_.prefill_token, 1e9));
}

void StepCosts::Observe(const StepShape& shape, absl::Duration took) {
  const auto [low, part] = Interpolate(shape.decode_rows);
  std::vector<Term> terms;
  const auto add = [&](double Coefficients::*member, int64_t amount) {
    terms.push_back({&(now_.*member), measured_.*member, static_cast<double>(amount)});
  };
  // Beyond the last point only the last one learns: the other's weight is negative there.
  if (part < 1.0) terms.push_back({&now_.step[low], measured_.step[low], 1.0 - part});
  terms.push_back({&now_.step[low + 1], measured_.step[low + 1], std::min(part, 1.0)});
  add(&Coefficients::context_token, shape.decode_context);
  add(&Coefficients::prefill_token, shape.prefill_tokens);
  add(&Coefficients::patched_state, shape.patched_states);
  add(&Coefficients::patched_entry, shape.patched_entries);
  add(&Coefficients::patched_token, shape.patched_tokens);
  Learn(terms, took);
}

void StepCosts::ObserveSwitch(int64_t left_entries, int64_t entered_entries, absl::Duration took) {
  Learn({{&now_.switch_base, measured_.switch_base, 1.0},
         {&now_.switch_entry, measured_.switch_entry,
          static_cast<double>(left_entries + entered_entries)}},
        took);
}

}  // namespace shira
