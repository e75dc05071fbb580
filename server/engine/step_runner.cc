#include "server/engine/step_runner.h"

#include <algorithm>
#include <numeric>
#include <set>
#include <utility>
#include <variant>

#include "base/status_macros.h"
#include "base/steady_clock.h"
#include "base/strings.h"
#include "server/engine/draft_planner.h"

namespace shira {
namespace {

int64_t LogitsOf(absl::Span<const BatchRow> rows) {
  return std::accumulate(rows.begin(), rows.end(), int64_t{0},
                         [](int64_t sum, const BatchRow& row) { return sum + row.logits(); });
}

StepShape ShapeOf(absl::Span<const BatchRow> rows, const CompiledState& resident) {
  StepShape shape;
  std::set<Sha256Digest> patched;
  for (const BatchRow& row : rows) {
    const int64_t tokens = static_cast<int64_t>(row.tokens.size());
    if (tokens == 1 + row.drafted) {
      shape.decode_rows += tokens;
      shape.decode_context += row.cache->length();
    } else {
      shape.prefill_tokens += tokens;
    }
    if (row.state->key == resident.key) continue;
    shape.patched_tokens += tokens;
    if (!patched.insert(row.state->key.digest()).second) continue;
    ++shape.patched_states;
    shape.patched_entries += row.state->entries();
  }
  return shape;
}

}  // namespace

StepRunner::StepRunner(const StepLimits& limits, const StepCosts& costs, bool learns,
                       ModelExecutor& executor, SwitchEngine& switch_engine, KvMemory& memory,
                       StatsBook& stats)
    : limits_(limits),
      learns_(learns),
      executor_(executor),
      switch_engine_(switch_engine),
      memory_(memory),
      stats_(stats),
      costs_(costs),
      resident_(switch_engine.resident()),
      resident_since_(SteadyTime::InfinitePast()) {}

SwitchStats StepRunner::SwitchTo(std::shared_ptr<const CompiledState> state) {
  const bool moves = !(resident_->key == state->key);
  const SwitchStats switched = switch_engine_.Apply(state);
  if (moves) {
    stats_.BookSwitch(switched.duration);
    if (learns_) costs_.ObserveSwitch(resident_->entries(), state->entries(), switched.duration);
    resident_since_ = SteadyNow();
  }
  resident_ = std::move(state);
  return switched;
}

void StepRunner::Leave(const Sha256Digest& adapter) {
  if (resident_->key.Contains(adapter)) SwitchTo(switch_engine_.base());
}

std::vector<StepRunner::Ended> StepRunner::Run(
    absl::Span<const std::unique_ptr<Sequence>> running) {
  Sequence::StepTimes times;
  times.start = SteadyNow();
  StepSnapshot snapshot = {.resident = resident_->key.digest(),
                           .resident_entries = resident_->entries(),
                           .resident_for = times.start - resident_since_,
                           .running = {}};
  for (const auto& sequence : running) snapshot.running.push_back(sequence->View(times.start));
  const StepPlan plan = PlanStep(snapshot, limits_, costs_);
  Batch batch = MakeBatch(plan, running);
  times.switching = SwitchFor(plan, batch);
  AddDrafts(batch);

  const SteadyTime forward_start = SteadyNow();
  const absl::StatusOr<absl::Span<const float>> logits = Forward(batch.rows);
  times.end = SteadyNow();
  std::vector<Ended> ended;
  if (!logits.ok()) {
    for (const Batch::Part& part : batch.parts) ended.push_back({part.sequence, logits.status()});
    return ended;
  }
  Book(batch, times.end - forward_start);
  size_t offset = 0;
  for (const Batch::Part& part : batch.parts) {
    const auto rows = absl::MakeConstSpan(batch.rows).subspan(part.first_row, part.rows);
    const size_t length = executor_.vocab_size() * LogitsOf(rows);
    const absl::Status status = Finish(part, logits->subspan(offset, length), times);
    offset += length;
    if (!status.ok()) {
      ended.push_back({part.sequence, status});
    } else if (std::optional<GenerationResult> result = part.sequence->Result()) {
      ended.push_back({part.sequence, *std::move(result)});
    }
  }
  return ended;
}

StepRunner::Batch StepRunner::MakeBatch(const StepPlan& plan,
                                        absl::Span<const std::unique_ptr<Sequence>> running) const {
  Batch batch;
  auto next = running.begin();  // the plan is in the order of `running`
  for (const StepRow& row : plan.rows) {
    next = std::find_if(next, running.end(),
                        [&](const auto& sequence) { return sequence->id() == row.sequence; });
    const int64_t first_row = static_cast<int64_t>(batch.rows.size());
    (*next)->AddRows(row.tokens, batch.rows);
    batch.parts.push_back(
        {next->get(), row.tokens, first_row, static_cast<int64_t>(batch.rows.size()) - first_row});
  }
  return batch;
}

void StepRunner::AddDrafts(Batch& batch) const {
  DraftSnapshot snapshot;
  std::vector<std::pair<const Batch::Part*, size_t>> drafting;  // and their first offers
  for (const Batch::Part& part : batch.parts) {
    std::vector<DraftOffer> offers = part.sequence->OfferDrafts();
    const bool patched = !(part.sequence->compiled_state().key == resident_->key);
    if (std::none_of(offers.begin(), offers.end(),
                     [](const DraftOffer& offer) { return offer.tokens > 0; })) {
      continue;
    }
    drafting.emplace_back(&part, snapshot.offers.size());
    for (DraftOffer& offer : offers) {
      offer.patched = patched;
      snapshot.offers.push_back(offer);
    }
  }
  if (drafting.empty()) return;
  snapshot.step = ShapeOf(batch.rows, *resident_);
  snapshot.room = limits_.step_tokens - snapshot.step.decode_rows - snapshot.step.prefill_tokens;
  const std::vector<int64_t> drafts = PlanDrafts(snapshot, costs_);
  for (const auto& [part, first] : drafting) {
    part->sequence->AddDrafts(absl::MakeConstSpan(drafts).subspan(first, part->rows),
                              absl::MakeSpan(batch.rows).subspan(part->first_row, part->rows));
  }
}

absl::Duration StepRunner::SwitchFor(const StepPlan& plan, const Batch& batch) {
  if (!plan.switch_to.has_value()) return absl::ZeroDuration();
  const auto wants_it =
      std::find_if(batch.parts.begin(), batch.parts.end(), [&](const Batch::Part& part) {
        return part.sequence->compiled_state().key.digest() == *plan.switch_to;
      });
  return SwitchTo(wants_it->sequence->state().state()).duration;
}

absl::StatusOr<absl::Span<const float>> StepRunner::Forward(absl::Span<const BatchRow> rows) {
  SHIRA_ASSIGN_OR_RETURN(const absl::Span<const float> logits, executor_.Forward(*resident_, rows));
  const int64_t wanted = LogitsOf(rows);
  if (static_cast<int64_t>(logits.size()) != wanted * executor_.vocab_size()) {
    return absl::InternalError(StrCat("the model gave ", logits.size(), " logits for ", wanted,
                                      " tokens of ", executor_.vocab_size()));
  }
  return logits;
}

void StepRunner::Book(const Batch& batch, absl::Duration took) {
  const StepShape shape = ShapeOf(batch.rows, *resident_);
  const int64_t patched =
      std::count_if(batch.rows.begin(), batch.rows.end(),
                    [&](const BatchRow& row) { return !(row.state->key == resident_->key); });
  stats_.BookStep(static_cast<int64_t>(batch.rows.size()), patched, took);
  if (learns_) costs_.Observe(shape, took);
}

absl::Status StepRunner::Finish(const Batch::Part& part, absl::Span<const float> logits,
                                const Sequence::StepTimes& times) {
  SHIRA_ASSIGN_OR_RETURN(const Sequence::StepOutcome outcome,
                         part.sequence->FinishStep(part.tokens, logits, times));
  stats_.BookTokens(outcome);
  part.sequence->KeepBranch(memory_);
  if (outcome.prompt_complete) {
    SHIRA_RETURN_IF_ERROR(part.sequence->SharePrompt(memory_));
  }
  part.sequence->ReleaseEnded(memory_);
  return absl::OkStatus();
}

}  // namespace shira
