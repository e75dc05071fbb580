// File: server/engine/step_runner.h
//
// Carries out what the planner says: switches, runs one forward pass, and hands every sequence its
// logits.

#ifndef SHIRA_SERVER_ENGINE_STEP_RUNNER_H_
#define SHIRA_SERVER_ENGINE_STEP_RUNNER_H_

#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "adapters/switch/switch_engine.h"
#include "base/steady_clock.h"
#include "server/engine/kv_memory.h"
#include "server/engine/sequence.h"
#include "server/engine/stats_book.h"
#include "server/engine/step_costs.h"
#include "server/engine/step_planner.h"
#include "server/executor/model_executor.h"

namespace shira {

// The engine's thread alone.
class StepRunner {
 public:
  // A sequence whose last step this was.
  struct Ended {
    Sequence* sequence;
    std::variant<GenerationResult, absl::Status> outcome;
  };

  // What is passed by reference must outlive it. `learns`: the costs follow what steps take.
  StepRunner(const StepLimits& limits, const StepCosts& costs, bool learns, ModelExecutor& executor,
             SwitchEngine& switch_engine, KvMemory& memory, StatsBook& stats);

  // Makes `state` resident.
  SwitchStats SwitchTo(std::shared_ptr<const CompiledState> state);

  // Makes the base resident if the state that is has this adapter in it.
  void Leave(const Sha256Digest& adapter);

  // One step of `running`, which is not empty and in the order of admission. An error of the model
  // ends the sequences of the step.
  std::vector<Ended> Run(absl::Span<const std::unique_ptr<Sequence>> running);

 private:
  // The rows of a step and whose they are.
  struct Batch {
    struct Part {
      Sequence* sequence;
      int64_t tokens;
      int64_t first_row;
      int64_t rows;
    };
    std::vector<Part> parts;
    std::vector<BatchRow> rows;
  };

  Batch MakeBatch(const StepPlan& plan, absl::Span<const std::unique_ptr<Sequence>> running) const;
  // Adds drafts to the rows, as far as they pay (draft_planner). The state of the step is resident.
  void AddDrafts(Batch& batch) const;
  absl::Duration SwitchFor(const StepPlan& plan, const Batch& batch);
  // The logits that the rows want, checked: [sum of BatchRow::logits()][vocab_size].
  absl::StatusOr<absl::Span<const float>> Forward(absl::Span<const BatchRow> rows);
  void Book(const Batch& batch, absl::Duration took);
  // What one part makes of its logits.
  absl::Status Finish(const Batch::Part& part, absl::Span<const float> logits,
                      const Sequence::StepTimes& times);

  const StepLimits limits_;
  const bool learns_;
  ModelExecutor& executor_;
  SwitchEngine& switch_engine_;
  KvMemory& memory_;
  StatsBook& stats_;
  StepCosts costs_;
  std::shared_ptr<const CompiledState> resident_;
  SteadyTime resident_since_;
};

}  // namespace shira

#endif  // SHIRA_SERVER_ENGINE_STEP_RUNNER_H_
