// File: server/service/generation_ledger.h
//
// Which generations are under way: for whom, with which adapter, whether their first token has
// come. Bounds what one client may have waiting, and keeps the metrics of generations.

#ifndef SHIRA_SERVER_SERVICE_GENERATION_LEDGER_H_
#define SHIRA_SERVER_SERVICE_GENERATION_LEDGER_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "base/steady_clock.h"
#include "server/metrics/metrics.h"
#include "server/metrics/server_samples.h"
#include "server/registry/state_handle.h"

namespace shira {

// "tone", "base", or "a+b" for a weighted set, in the state's order.
std::string AdapterLabel(absl::Span<const AdapterRef> adapters);

// Thread-safe.
class GenerationLedger {
 public:
  struct Options {
    int64_t max_waiting_per_client = 256;
  };

  // `metrics` must outlive this object.
  GenerationLedger(Options options, Metrics& metrics) : options_(options), metrics_(metrics) {}

  // One generation from its submission to its end. Thread-compatible. One that is destroyed without
  // an end was not taken by the engine, and counts as nothing.
  class Entry {
   public:
    Entry(GenerationLedger& ledger, std::string client, std::string adapter);
    ~Entry();
    Entry(const Entry&) = delete;
    Entry& operator=(const Entry&) = delete;

    void OnToken();
    // `outcome`: as AdapterMetrics::CountRequest(). `queue`: nullopt if it is not known.
    void OnEnd(std::string_view outcome, int64_t prompt_tokens, int64_t generated_tokens,
               std::optional<absl::Duration> queue);

   private:
    GenerationLedger& ledger_;
    const std::string client_;
    const std::string adapter_;
    AdapterMetrics& metrics_;
    const SteadyTime start_;
    SteadyTime last_token_ = SteadyTime::InfinitePast();  // InfinitePast: none yet
  };

  // RESOURCE_EXHAUSTED, reason CLIENT_QUEUE_FULL, when the client has enough waiting. The entry
  // must not outlive this object.
  absl::StatusOr<std::unique_ptr<Entry>> Admit(std::string client,
                                               absl::Span<const AdapterRef> adapters)
      ABSL_LOCKS_EXCLUDED(mutex_);

  // Of every adapter that has generations: the busiest first, then by name.
  std::vector<AdapterLoad> Loads() const ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  struct Load {
    int64_t waiting = 0;
    int64_t running = 0;
  };

  void FirstTokenCame(const std::string& client, const std::string& adapter)
      ABSL_LOCKS_EXCLUDED(mutex_);
  void Remove(const std::string& client, const std::string& adapter, bool waiting)
      ABSL_LOCKS_EXCLUDED(mutex_);
  void StopWaiting(const std::string& client) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const Options options_;
  Metrics& metrics_;

  mutable absl::Mutex mutex_;
  absl::flat_hash_map<std::string, int64_t> waiting_by_client_ ABSL_GUARDED_BY(mutex_);
  absl::flat_hash_map<std::string, Load> loads_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace shira

#endif  // SHIRA_SERVER_SERVICE_GENERATION_LEDGER_H_
