// File: server/generation/generation_ledger.h
//
// Which generations are under way: for whom, with which adapter, whether their first token has
// come, and what of their answers their clients have not read yet. Bounds what one client may have
// waiting and unread, and keeps the metrics of generations.

#ifndef SHIRA_SERVER_GENERATION_GENERATION_LEDGER_H_
#define SHIRA_SERVER_GENERATION_GENERATION_LEDGER_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "base/steady_clock.h"
#include "server/metrics/metrics.h"
#include "server/metrics/server_samples.h"
#include "server/residency/state_handle.h"

namespace shira {

// "tone", "base", or "a+b" for a weighted set, in the state's order.
std::string AdapterLabel(absl::Span<const AdapterRef> adapters);

// Thread-safe.
class GenerationLedger {
 public:
  struct Options {
    int64_t max_waiting_per_client = 256;
    // Of streams, in memory; and, apart from these, of ended calls. One client may have one in
    // kClientShare of it.
    int64_t max_unread_bytes = int64_t{128} << 20;
    // How long the last words of a call may be on their way before it counts as not read.
    absl::Duration last_words = absl::Seconds(2);
  };
  static constexpr int64_t kClientShare = 8;

  // `metrics` must outlive this object.
  GenerationLedger(Options options, Metrics& metrics) : options_(options), metrics_(metrics) {}

  // One generation from its admission until its client has read the answer. One that is destroyed
  // without an end was not taken by the engine, and counts as nothing. OnToken(), OnEnd() and
  // Abandon() are called by one thread at a time; the others by any.
  class Entry {
   public:
    Entry(GenerationLedger& ledger, std::string client, std::string adapter);
    ~Entry();
    Entry(const Entry&) = delete;
    Entry& operator=(const Entry&) = delete;

    void OnToken();
    // `outcome`: as AdapterMetrics::CountRequest(). `queue`: nullopt if it is not known. From now on
    // it counts as an ended call that is not read.
    void OnEnd(std::string_view outcome, int64_t prompt_tokens, int64_t generated_tokens,
               std::optional<absl::Duration> queue);

    // It has ended without the engine, unless it has ended already: neither waiting any more nor in
    // the metrics.
    void Abandon();

    // So many bytes more (or less) of a stream are in memory for the client to read.
    // RESOURCE_EXHAUSTED, reason ANSWER_NOT_READ, when that is more than the client, or all of them,
    // may have; they count nevertheless.
    absl::Status AddUnread(int64_t bytes);
    // So many bytes are the answer of a call that has ended, and go to the client at once.
    void SetAnswer(int64_t bytes) { answer_bytes_ = bytes; }

   private:
    friend class GenerationLedger;
    GenerationLedger& ledger_;
    const std::string client_;
    const std::string adapter_;
    AdapterMetrics& metrics_;
    const SteadyTime start_;
    SteadyTime last_token_ = SteadyTime::InfinitePast();  // InfinitePast: none yet
    SteadyTime end_ = SteadyTime::InfiniteFuture();       // not ended
    std::atomic<int64_t> unread_bytes_ = 0;
    std::atomic<int64_t> answer_bytes_ = 0;
  };

  // RESOURCE_EXHAUSTED, when the client has enough waiting, ended calls that it does not read
  // included (CLIENT_QUEUE_FULL), or enough that it does not read (ANSWER_NOT_READ). The entry must
  // not outlive this object.
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

  // What one client has.
  struct Client {
    int64_t waiting = 0;
    int64_t running = 0;
    absl::flat_hash_set<const Entry*> ended = {};  // and not read
    int64_t unread_bytes = 0;
  };

  void FirstTokenCame(const std::string& client, const std::string& adapter)
      ABSL_LOCKS_EXCLUDED(mutex_);
  // Neither waiting nor running any more.
  void End(const Entry& entry, bool waiting) ABSL_LOCKS_EXCLUDED(mutex_);
  // After End().
  void Remove(const Entry& entry) ABSL_LOCKS_EXCLUDED(mutex_);
  absl::Status CheckRead(const std::string& name, const Client& client) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status AddUnread(const std::string& client, int64_t bytes) ABSL_LOCKS_EXCLUDED(mutex_);
  int64_t share_bytes() const { return options_.max_unread_bytes / kClientShare; }

  const Options options_;
  Metrics& metrics_;

  mutable absl::Mutex mutex_;
  absl::flat_hash_map<std::string, Client> clients_ ABSL_GUARDED_BY(mutex_);
  int64_t unread_bytes_ ABSL_GUARDED_BY(mutex_) = 0;  // of all clients
  absl::flat_hash_map<std::string, Load> loads_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace shira

#endif  // SHIRA_SERVER_GENERATION_GENERATION_LEDGER_H_
