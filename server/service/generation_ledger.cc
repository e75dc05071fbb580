#include "server/service/generation_ledger.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_join.h"
#include "base/steady_clock.h"
#include "base/strings.h"
#include "server/service/error_details.h"

namespace shira {

std::string AdapterLabel(absl::Span<const AdapterRef> adapters) {
  if (adapters.empty()) return "base";
  return absl::StrJoin(adapters, "+", [](std::string* out, const AdapterRef& adapter) {
    out->append(adapter.name);
  });
}

GenerationLedger::Entry::Entry(GenerationLedger& ledger, std::string client, std::string adapter)
    : ledger_(ledger),
      client_(std::move(client)),
      adapter_(std::move(adapter)),
      metrics_(ledger.metrics_.ForAdapter(adapter_)),
      start_(SteadyNow()) {}

GenerationLedger::Entry::~Entry() {
  ledger_.Remove(client_, adapter_, /*waiting=*/last_token_ == SteadyTime::InfinitePast());
}

void GenerationLedger::Entry::OnToken() {
  const SteadyTime now = SteadyNow();
  if (last_token_ == SteadyTime::InfinitePast()) {
    metrics_.ObserveFirstToken(now - start_);
    ledger_.FirstTokenCame(client_, adapter_);
  } else {
    metrics_.ObserveInterToken(now - last_token_);
  }
  last_token_ = now;
}

void GenerationLedger::Entry::OnEnd(std::string_view outcome, int64_t prompt_tokens,
                                    int64_t generated_tokens, std::optional<absl::Duration> queue) {
  if (queue.has_value()) metrics_.ObserveQueue(*queue);
  metrics_.CountTokens(prompt_tokens, generated_tokens);
  metrics_.CountRequest(outcome);
}

absl::StatusOr<std::unique_ptr<GenerationLedger::Entry>> GenerationLedger::Admit(
    std::string client, absl::Span<const AdapterRef> adapters) {
  std::string adapter = AdapterLabel(adapters);
  {
    absl::MutexLock lock(&mutex_);
    int64_t& waiting = waiting_by_client_[client];
    if (waiting >= options_.max_waiting_per_client) {
      return WithReason(
          absl::ResourceExhaustedError(StrCat("the client '", client, "' has ", waiting,
                                              " generations waiting, and may have no more")),
          "CLIENT_QUEUE_FULL",
          {{"client", client}, {"limit", StrCat(options_.max_waiting_per_client)}});
    }
    ++waiting;
    ++loads_[adapter].waiting;
  }
  return std::make_unique<Entry>(*this, std::move(client), std::move(adapter));
}

void GenerationLedger::StopWaiting(const std::string& client) {
  const auto it = waiting_by_client_.find(client);
  if (--it->second == 0) waiting_by_client_.erase(it);  // clients come and go
}

void GenerationLedger::FirstTokenCame(const std::string& client, const std::string& adapter) {
  absl::MutexLock lock(&mutex_);
  StopWaiting(client);
  Load& load = loads_[adapter];
  --load.waiting;
  ++load.running;
}

void GenerationLedger::Remove(const std::string& client, const std::string& adapter, bool waiting) {
  absl::MutexLock lock(&mutex_);
  if (waiting) StopWaiting(client);
  const auto it = loads_.find(adapter);
  --(waiting ? it->second.waiting : it->second.running);
  if (it->second.waiting == 0 && it->second.running == 0) loads_.erase(it);
}

std::vector<AdapterLoad> GenerationLedger::Loads() const {
  std::vector<AdapterLoad> loads;
  {
    absl::MutexLock lock(&mutex_);
    for (const auto& [adapter, load] : loads_) {
      loads.push_back({adapter, load.waiting, load.running});
    }
  }
  std::sort(loads.begin(), loads.end(), [](const AdapterLoad& a, const AdapterLoad& b) {
    const int64_t of_a = a.waiting + a.running;
    const int64_t of_b = b.waiting + b.running;
    return of_a != of_b ? of_a > of_b : a.adapter < b.adapter;
  });
  return loads;
}

}  // namespace shira
