// File: server/engine/stats_book.h
//
// Where the engine's counts are kept: written by its thread and by the threads that submit, read by
// any thread.

#ifndef SHIRA_SERVER_ENGINE_STATS_BOOK_H_
#define SHIRA_SERVER_ENGINE_STATS_BOOK_H_

#include <cstdint>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "server/engine/engine_stats.h"
#include "server/engine/sequence.h"

namespace shira {

// Thread-safe.
class StatsBook {
 public:
  // A generation's way: it is queued or rejected; a queued one may be admitted; then it ends.
  void BookQueued();
  void BookRejected();
  // `keeps_prefixes`: whether cached tokens could have been found.
  void BookAdmitted(int64_t cached_tokens, bool keeps_prefixes);
  void BookEnd(bool was_admitted, const absl::Status& status);

  // `rows`: decode rows and prompts; `patched_rows` of them in other states than the resident one.
  void BookStep(int64_t rows, int64_t patched_rows, absl::Duration took);
  void BookSwitch(absl::Duration took);
  void BookTokens(const Sequence::StepOutcome& outcome);

  // What holds now, as the engine's thread last saw it.
  void SetNow(int64_t running_rows, int64_t kv_running_bytes, const PrefixCache* prefixes);

  // All but the KV bytes in use and in the budget, which are the executor's to know.
  EngineStats Read() const;

 private:
  mutable absl::Mutex mutex_;
  EngineStats stats_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace shira

#endif  // SHIRA_SERVER_ENGINE_STATS_BOOK_H_
