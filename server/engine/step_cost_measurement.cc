#include "server/engine/step_cost_measurement.h"

#include <algorithm>
#include <memory>
#include <random>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "base/status_macros.h"
#include "base/steady_clock.h"
#include "base/strings.h"

namespace shira {
namespace {

constexpr int64_t kMostRows = 16;
constexpr int64_t kPromptTokens = 64;
constexpr int64_t kMostRepetitions = 5;
// So many kinds of steps are measured, roughly.
constexpr int64_t kKinds = 8;

// An adapter whose deltas are -0, which leave any number as it is (+0 would make +0 of -0), with
// `rank` * (rows + cols) entries in each matrix but those as long as the vocabulary.
absl::StatusOr<std::shared_ptr<const SparseAdapter>> NoChange(const ParameterMap& map, int64_t rank,
                                                              int64_t vocab_size) {
  auto adapter = std::make_shared<SparseAdapter>();
  std::mt19937_64 random(rank);
  for (const ParameterShape& parameter : map.parameters()) {
    if (parameter.rows == 1 || parameter.rows == vocab_size) continue;
    const int64_t elements = parameter.elements();
    const int64_t count = std::min(rank * (parameter.rows + parameter.cols), elements / 2);
    absl::flat_hash_set<int64_t> taken;
    while (static_cast<int64_t>(taken.size()) < count) {
      taken.insert(static_cast<int64_t>(random() % elements));
    }
    std::vector<int64_t> positions(taken.begin(), taken.end());
    std::sort(positions.begin(), positions.end());
    ParameterDelta& delta = adapter->deltas.emplace_back();
    delta.parameter = parameter.name;
    SHIRA_ASSIGN_OR_RETURN(delta.table,
                           IndexTable::Create(parameter.rows, parameter.cols, positions));
    delta.values.assign(positions.size(), -0.0f);
  }
  adapter->digest = Sha256::Of(StrCat("no change, rank ", rank));
  return adapter;
}

class Measurement {
 public:
  Measurement(ModelExecutor& executor, SwitchEngine& switch_engine)
      : executor_(executor), switch_engine_(switch_engine), base_(switch_engine.base()) {}

  absl::StatusOr<StepCosts> Run(absl::Duration budget) {
    SHIRA_RETURN_IF_ERROR(Prepare(budget));
    StepCosts::Coefficients c;
    SHIRA_RETURN_IF_ERROR(MeasureFused(c));
    if (executor_.mixes_states()) SHIRA_RETURN_IF_ERROR(MeasurePatches(c));
    SHIRA_RETURN_IF_ERROR(MeasurePrompt(c));
    MeasureSwitches(c);
    return StepCosts(c);
  }

 private:
  absl::Status Prepare(absl::Duration budget) {
    const ParameterMap& map = switch_engine_.parameters();
    for (const int64_t rank : {2, 1}) {
      SHIRA_ASSIGN_OR_RETURN(std::shared_ptr<const SparseAdapter> adapter,
                             NoChange(map, rank, executor_.vocab_size()));
      SHIRA_ASSIGN_OR_RETURN(states_.emplace_back(), switch_engine_.Compile({{adapter, 1.0}}));
    }
    sequence_tokens_ = std::min(kPromptTokens, executor_.context_length());
    for (int64_t i = 0; i < kMostRows; ++i) {
      absl::StatusOr<std::unique_ptr<SequenceCache>> cache =
          executor_.NewSequence({.tokens = sequence_tokens_});
      if (!cache.ok() && i == 0) return cache.status();
      if (!cache.ok()) break;
      caches_.push_back(*std::move(cache));
    }
    repetitions_ = 1;
    SHIRA_RETURN_IF_ERROR(Seconds(1, 0, nullptr).status());  // the first one of all is slower
    SHIRA_ASSIGN_OR_RETURN(const double step, Seconds(1, 0, nullptr));
    const double fitting = absl::ToDoubleSeconds(budget) / (2.0 * kKinds * step);
    repetitions_ =
        std::clamp<int64_t>(static_cast<int64_t>(std::min(fitting, 100.0)), 1, kMostRepetitions);
    return absl::OkStatus();
  }

  // The median of steps of one token in each of `rows` rows, the last `patched` of them in `state`.
  absl::StatusOr<double> Seconds(int64_t rows, int64_t patched, const CompiledState* state) {
    const std::vector<int32_t> token = {0};
    std::vector<double> times;
    for (int64_t i = 0; i < repetitions_; ++i) {
      std::vector<BatchRow> batch;
      for (int64_t row = 0; row < rows; ++row) {
        SHIRA_RETURN_IF_ERROR(MakeRoom(row, 1));
        batch.push_back({.cache = caches_[row].get(),
                         .tokens = token,
                         .wants_logits = true,
                         .state = row < rows - patched ? base_.get() : state});
      }
      SHIRA_ASSIGN_OR_RETURN(times.emplace_back(), Time(batch));
    }
    std::nth_element(times.begin(), times.begin() + times.size() / 2, times.end());
    return times[times.size() / 2];
  }

  absl::StatusOr<double> Time(absl::Span<const BatchRow> batch) {
    const SteadyTime start = SteadyNow();
    SHIRA_RETURN_IF_ERROR(executor_.Forward(*base_, batch).status());
    return absl::ToDoubleSeconds(SteadyNow() - start);
  }

  // A new sequence where the old one is full.
  absl::Status MakeRoom(int64_t row, int64_t tokens) {
    std::unique_ptr<SequenceCache>& cache = caches_[row];
    if (cache->length() + tokens <= cache->capacity()) return absl::OkStatus();
    cache.reset();
    SHIRA_ASSIGN_OR_RETURN(cache, executor_.NewSequence({.tokens = sequence_tokens_}));
    return absl::OkStatus();
  }

  int64_t most_rows() const { return static_cast<int64_t>(caches_.size()); }

  absl::Status MeasureFused(StepCosts::Coefficients& c) {
    std::vector<double> known;
    for (const int64_t rows : StepCosts::kRows) {
      if (rows > most_rows()) break;
      SHIRA_ASSIGN_OR_RETURN(known.emplace_back(), Seconds(rows, 0, nullptr));
    }
    for (size_t i = 0; i < c.step.size(); ++i) {
      // Where no step was measured: as much more per row as in the last two that were.
      c.step[i] = i < known.size() ? std::max(known[i], i > 0 ? c.step[i - 1] : 0.0)
                  : i < 2          ? c.step[0]
                                   : c.step[i - 1] + 2.0 * (c.step[i - 1] - c.step[i - 2]);
    }
    return absl::OkStatus();
  }

  // Two states of different size give what a state and an entry cost, two numbers of rows what a
  // row does.
  absl::Status MeasurePatches(StepCosts::Coefficients& c) {
    const int64_t rows = std::min<int64_t>(most_rows(), 4);
    SHIRA_ASSIGN_OR_RETURN(const double fused, Seconds(rows, 0, nullptr));
    SHIRA_ASSIGN_OR_RETURN(const double large, Seconds(rows, 1, states_[0].get()));
    SHIRA_ASSIGN_OR_RETURN(const double small, Seconds(rows, 1, states_[1].get()));
    SHIRA_ASSIGN_OR_RETURN(const double more_rows, Seconds(rows, rows, states_[0].get()));
    const double entries = static_cast<double>(states_[0]->entries());
    const double difference = entries - static_cast<double>(states_[1]->entries());
    // A state costs something, and not more than the whole: noise is larger than the difference at
    // times.
    const double patch = std::max(large - fused, 0.01 * fused);
    c.patched_entry =
        std::clamp((large - small) / difference, 0.2 * patch / entries, 0.9 * patch / entries);
    c.patched_state = patch - c.patched_entry * entries;
    const double others = static_cast<double>(std::max<int64_t>(rows - 1, 1));
    c.patched_token = std::max((more_rows - large) / others, 0.0);
    return absl::OkStatus();
  }

  absl::Status MeasurePrompt(StepCosts::Coefficients& c) {
    const std::vector<int32_t> tokens(sequence_tokens_, 0);
    double least = 0.0;
    for (int64_t i = 0; i < std::min<int64_t>(repetitions_, 2); ++i) {
      SHIRA_RETURN_IF_ERROR(MakeRoom(0, sequence_tokens_));
      const BatchRow row = {
          .cache = caches_[0].get(), .tokens = tokens, .wants_logits = true, .state = base_.get()};
      SHIRA_ASSIGN_OR_RETURN(const double seconds, Time({row}));
      least = i == 0 ? seconds : std::min(least, seconds);
    }
    c.prefill_token =
        std::max(least - c.step[0], 0.05 * least) / static_cast<double>(tokens.size());
    return absl::OkStatus();
  }

  void MeasureSwitches(StepCosts::Coefficients& c) {
    double seconds = 0.0;
    switch_engine_.Apply(states_[0]);
    for (int64_t i = 0; i < repetitions_; ++i) {
      seconds += absl::ToDoubleSeconds(switch_engine_.Apply(base_).duration);
      seconds += absl::ToDoubleSeconds(switch_engine_.Apply(states_[0]).duration);
    }
    switch_engine_.Apply(base_);
    seconds /= 2.0 * static_cast<double>(repetitions_);
    c.switch_base = 0.05 * seconds;
    c.switch_entry = 0.95 * seconds / static_cast<double>(states_[0]->entries());
  }

  ModelExecutor& executor_;
  SwitchEngine& switch_engine_;
  const std::shared_ptr<const CompiledState> base_;
  std::vector<std::shared_ptr<const CompiledState>> states_;  // of rank 2 and 1
  std::vector<std::unique_ptr<SequenceCache>> caches_;
  int64_t sequence_tokens_ = 0;
  int64_t repetitions_ = 1;
};

}  // namespace

absl::StatusOr<StepCosts> MeasureStepCosts(ModelExecutor& executor, SwitchEngine& switch_engine,
                                           absl::Duration budget) {
  return Measurement(executor, switch_engine).Run(budget);
}

}  // namespace shira
