#include "server/engine/stats_book.h"

namespace shira {

void StatsBook::BookQueued(const StateHandle& state) {
  absl::MutexLock lock(&mutex_);
  ++stats_.queued;
  for (const AdapterRef& adapter : state.adapters()) ++stats_.adapters[adapter.name].queued;
}

void StatsBook::BookRejected() {
  absl::MutexLock lock(&mutex_);
  ++stats_.rejected;
}

void StatsBook::BookAdmitted(const StateHandle& state, absl::Duration queued, int64_t cached_tokens,
                             bool keeps_prefixes) {
  absl::MutexLock lock(&mutex_);
  --stats_.queued;
  ++stats_.running;
  for (const AdapterRef& adapter : state.adapters()) {
    AdapterGenerations& load = stats_.adapters[adapter.name];
    --load.queued;
    ++load.running;
  }
  stats_.queue_time.Add(queued);
  stats_.cached_prompt_tokens += cached_tokens;
  if (keeps_prefixes) ++(cached_tokens > 0 ? stats_.prefix_hits : stats_.prefix_misses);
}

void StatsBook::BookEnd(const StateHandle& state, bool was_admitted, const absl::Status& status,
                        absl::Duration total) {
  absl::MutexLock lock(&mutex_);
  --(was_admitted ? stats_.running : stats_.queued);
  for (const AdapterRef& adapter : state.adapters()) {
    const auto load = stats_.adapters.find(adapter.name);
    --(was_admitted ? load->second.running : load->second.queued);
    if (load->second.running + load->second.queued == 0) stats_.adapters.erase(load);
  }
  ++(status.ok() ? stats_.finished : stats_.failed);
  if (absl::IsCancelled(status)) ++stats_.cancelled;
  if (absl::IsDeadlineExceeded(status)) ++stats_.expired;
  // Before admission DATA_LOSS means something else: an adapter's file has changed on disk.
  if (was_admitted && absl::IsDataLoss(status)) ++stats_.not_finite;
  if (status.ok()) stats_.generation_time.Add(total);
}

void StatsBook::BookStep(const StepShape& shape, int64_t rows, int64_t patched_rows,
                         absl::Duration took) {
  absl::MutexLock lock(&mutex_);
  ++(patched_rows > 0 ? stats_.patched_steps : stats_.fused_steps);
  stats_.prefill_steps += shape.prefill_tokens > 0 ? 1 : 0;
  stats_.step_rows += rows;
  stats_.patched_rows += patched_rows;
  stats_.step_time.Add(took);
}

void StatsBook::BookSwitch(absl::Duration took) {
  absl::MutexLock lock(&mutex_);
  ++stats_.switches;
  stats_.switch_time += took;
}

void StatsBook::BookTokens(const Sequence::StepOutcome& outcome, bool first) {
  absl::MutexLock lock(&mutex_);
  stats_.prompt_tokens += outcome.prompt_tokens;
  stats_.generated_tokens += outcome.emitted_tokens;
  if (outcome.emitted_tokens == 0) return;
  (first ? stats_.time_to_first_token : stats_.inter_token_time).Add(outcome.token_time);
}

void StatsBook::SetNow(int64_t running_rows, int64_t kv_running_bytes,
                       const PrefixCache* prefixes) {
  absl::MutexLock lock(&mutex_);
  stats_.running_rows = running_rows;
  stats_.kv_running_bytes = kv_running_bytes;
  stats_.kept_prefixes = prefixes == nullptr ? 0 : prefixes->prefixes();
  stats_.kept_prefix_tokens = prefixes == nullptr ? 0 : prefixes->tokens();
}

EngineStats StatsBook::Read() const {
  absl::MutexLock lock(&mutex_);
  return stats_;
}

}  // namespace shira
