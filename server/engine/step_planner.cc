#include "server/engine/step_planner.h"

#include <algorithm>

namespace shira {
namespace {

// A switch is believed to be of use for at most so many steps.
constexpr int64_t kHorizonSteps = 64;

// The sequences of one state.
struct Group {
  Sha256Digest state;
  int64_t entries = 0;
  bool resident = false;
  int64_t decode_rows = 0;
  int64_t prefill_tokens = 0;   // pending, then what the step takes of them
  int64_t steps_to_come = 0;    // that it is expected to take part in
  absl::Duration waited;        // the longest
  std::vector<size_t> members;  // positions in StepSnapshot::running

  int64_t tokens() const { return decode_rows + prefill_tokens; }
};

using Groups = std::vector<Group>;

int64_t DivideUp(int64_t a, int64_t b) { return (a + b - 1) / b; }

Groups GroupByState(const StepSnapshot& snapshot, const StepLimits& limits) {
  Groups groups;
  for (size_t i = 0; i < snapshot.running.size(); ++i) {
    const SequenceView& sequence = snapshot.running[i];
    auto group = std::find_if(groups.begin(), groups.end(),
                              [&](const Group& g) { return g.state == sequence.state; });
    if (group == groups.end()) {
      group = groups.insert(groups.end(), Group());
      group->state = sequence.state;
      group->entries = sequence.state_entries;
      group->resident = sequence.state == snapshot.resident;
    }
    int64_t steps = sequence.tokens_to_come;
    if (sequence.prefill) {
      group->prefill_tokens =
          std::min(group->prefill_tokens + sequence.pending_tokens, limits.step_tokens);
      steps += DivideUp(sequence.pending_tokens, limits.step_tokens);
    } else {
      group->decode_rows += sequence.rows;
    }
    group->steps_to_come = std::max(group->steps_to_come, std::min(steps, kHorizonSteps));
    group->waited = std::max(group->waited, sequence.waited);
    group->members.push_back(i);
  }
  return groups;
}

class Planner {
 public:
  Planner(const StepSnapshot& snapshot, const StepLimits& limits, const StepCosts& costs)
      : snapshot_(snapshot), limits_(limits), costs_(costs) {}

  StepPlan Plan() {
    StepPlan plan;
    groups_ = GroupByState(snapshot_, limits_);
    if (groups_.empty()) return plan;
    Groups chosen = {First()};
    if (limits_.row_patching == RowPatching::kAuto) TakeInOthers(chosen);
    AssignTokens(chosen, plan);
    plan.switch_to = SwitchTo(chosen);
    return plan;
  }

 private:
  // What the step begins with: the resident state, unless no sequence uses it or its slice is over.
  const Group& First() const {
    const Group* resident = nullptr;
    const Group* longest = nullptr;  // among the others
    for (const Group& group : groups_) {
      if (group.resident) {
        resident = &group;
      } else if (longest == nullptr || group.waited > longest->waited) {
        longest = &group;
      }
    }
    if (longest == nullptr) return *resident;
    if (resident == nullptr) return *longest;
    const absl::Duration slice =
        std::min(limits_.max_state_wait, absl::Seconds(kSliceSwitches * SwitchSeconds(*longest)));
    const bool over = longest->waited >= limits_.max_state_wait && snapshot_.resident_for >= slice;
    return over ? *longest : *resident;
  }

  double SwitchSeconds(const Group& to) const {
    return to.resident ? 0.0 : costs_.SwitchSeconds(snapshot_.resident_entries, to.entries);
  }
  double PatchSeconds(const Group& group) const {
    return costs_.PatchSeconds(1, group.entries, group.tokens());
  }

  // A step of these states, whichever of them is resident in the long run; without the prompts'
  // tokens, which cost the same in any step.
  double JointSeconds(const Groups& chosen) const {
    int64_t rows = 0;
    double patches = 0.0;
    double dearest = 0.0;
    for (const Group& group : chosen) {
      rows += group.decode_rows;
      patches += PatchSeconds(group);
      dearest = std::max(dearest, PatchSeconds(group));
    }
    return costs_.StepSeconds(rows) + patches - dearest;
  }

  // Adds those that cost less here than in a step of their own, the cheapest per token first.
  void TakeInOthers(Groups& chosen) const {
    Groups others;
    for (const Group& group : groups_) {
      if (group.state != chosen.front().state) others.push_back(group);
    }
    std::stable_sort(others.begin(), others.end(), [&](const Group& a, const Group& b) {
      return PatchSeconds(a) * static_cast<double>(b.tokens()) <
             PatchSeconds(b) * static_cast<double>(a.tokens());
    });
    for (const Group& group : others) {
      const double apart = JointSeconds(chosen) + JointSeconds({group}) +
                           SwitchSeconds(group) / static_cast<double>(kSliceSwitches);
      chosen.push_back(group);
      if (JointSeconds(chosen) >= apart) chosen.pop_back();
    }
  }

  // Fills the plan's rows; groups that get none leave `chosen`.
  void AssignTokens(Groups& chosen, StepPlan& plan) const {
    int64_t decode_rows = 0;
    std::vector<size_t> members;
    for (Group& group : chosen) {
      decode_rows += group.decode_rows;
      group.prefill_tokens = 0;
      members.insert(members.end(), group.members.begin(), group.members.end());
    }
    std::sort(members.begin(), members.end());
    int64_t left = PrefillBudget(decode_rows);
    for (const size_t member : members) {
      const SequenceView& sequence = snapshot_.running[member];
      int64_t tokens = 1;
      if (sequence.prefill) {
        tokens = std::min(sequence.pending_tokens, left);
        if (tokens < std::min(sequence.pending_tokens, LeastPrefill())) continue;
        left -= tokens;
        std::find_if(chosen.begin(), chosen.end(), [&](const Group& group) {
          return group.state == sequence.state;
        })->prefill_tokens += tokens;
      }
      plan.rows.push_back({sequence.id, tokens});
    }
    std::erase_if(chosen, [](const Group& group) { return group.tokens() == 0; });
  }

  int64_t LeastPrefill() const { return std::min(kLeastPrefill, limits_.step_tokens); }

  int64_t PrefillBudget(int64_t decode_rows) const {
    int64_t tokens = limits_.step_tokens - decode_rows;
    if (decode_rows > 0) {
      tokens = std::min(tokens, costs_.PrefillTokensWithin(absl::ToDoubleSeconds(limits_.max_stall),
                                                           decode_rows));
    }
    return std::max(tokens, LeastPrefill());
  }

  // Where another state than the resident one makes this step and those to come cheaper.
  std::optional<Sha256Digest> SwitchTo(const Groups& chosen) const {
    const Group* best =
        nullptr;        // nullptr: stay, although no sequence here uses the resident state
    double most = 0.0;  // seconds per step that are not spent on patching `best`
    for (const Group& group : chosen) {
      if (group.resident) {
        best = &group;
        most = PatchSeconds(group);
      }
    }
    for (const Group& group : chosen) {
      if (group.resident) continue;
      const double there_and_back = 2.0 * SwitchSeconds(group);
      const double saved =
          PatchSeconds(group) -
          there_and_back / static_cast<double>(std::max<int64_t>(group.steps_to_come, 1));
      if (saved > most || chosen.size() == 1) {
        best = &group;
        most = saved;
      }
    }
    if (best == nullptr || best->resident) return std::nullopt;
    return best->state;
  }

  const StepSnapshot& snapshot_;
  const StepLimits& limits_;
  const StepCosts& costs_;
  Groups groups_;
};

}  // namespace

StepPlan PlanStep(const StepSnapshot& snapshot, const StepLimits& limits, const StepCosts& costs) {
  return Planner(snapshot, limits, costs).Plan();
}

}  // namespace shira
