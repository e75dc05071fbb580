#include "server/engine/stats_book.h"

namespace shira {

void StatsBook::BookQueued() {
  absl::MutexLock lock(&mutex_);
  ++stats_.queued;
}

void StatsBook::BookRejected() {
  absl::MutexLock lock(&mutex_);
  ++stats_.rejected;
}

void StatsBook::BookAdmitted(int64_t cached_tokens, bool keeps_prefixes) {
  absl::MutexLock lock(&mutex_);
  --stats_.queued;
  ++stats_.running;
  stats_.cached_prompt_tokens += cached_tokens;
  if (keeps_prefixes) ++(cached_tokens > 0 ? stats_.prefix_hits : stats_.prefix_misses);
}

void StatsBook::BookEnd(bool was_admitted, const absl::Status& status) {
  absl::MutexLock lock(&mutex_);
  --(was_admitted ? stats_.running : stats_.queued);
  ++(status.ok() ? stats_.finished : stats_.failed);
  // Before admission DATA_LOSS means something else: an adapter's file has changed on disk.
  if (was_admitted && absl::IsDataLoss(status)) ++stats_.not_finite;
}

void StatsBook::BookStep(int64_t rows, int64_t patched_rows, absl::Duration took) {
  absl::MutexLock lock(&mutex_);
  ++(patched_rows > 0 ? stats_.patched_steps : stats_.fused_steps);
  stats_.step_rows += rows;
  stats_.patched_rows += patched_rows;
  stats_.step_time.Add(took);
}

void StatsBook::BookSwitch(absl::Duration took) {
  absl::MutexLock lock(&mutex_);
  ++stats_.switches;
  stats_.switch_time += took;
}

void StatsBook::BookTokens(const Sequence::StepOutcome& outcome) {
  absl::MutexLock lock(&mutex_);
  stats_.prompt_tokens += outcome.prompt_tokens;
  stats_.generated_tokens += outcome.emitted_tokens;
  stats_.drafted_tokens += outcome.drafts.drafted;
  stats_.accepted_tokens += outcome.drafts.accepted;
}

void StatsBook::SetNow(int64_t running_rows, int64_t kv_running_bytes,
                       const PrefixCache* prefixes) {
  absl::MutexLock lock(&mutex_);
  stats_.running_rows = running_rows;
  stats_.kv_running_bytes = kv_running_bytes;
  stats_.kept_prefixes = prefixes == nullptr ? 0 : prefixes->prefixes();
}

EngineStats StatsBook::Read() const {
  absl::MutexLock lock(&mutex_);
  return stats_;
}

}  // namespace shira
