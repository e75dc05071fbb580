#include "server/generation/generation_ledger.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_join.h"
#include "base/status_macros.h"
#include "base/steady_clock.h"
#include "base/strings.h"
#include "server/generation/error_details.h"

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
  Abandon();
  ledger_.Remove(*this);
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
  Abandon();
}

void GenerationLedger::Entry::Abandon() {
  if (end_ != SteadyTime::InfiniteFuture()) return;
  end_ = SteadyNow();
  ledger_.End(*this, /*waiting=*/last_token_ == SteadyTime::InfinitePast());
}

absl::Status GenerationLedger::Entry::AddUnread(int64_t bytes) {
  unread_bytes_ += bytes;
  return ledger_.AddUnread(client_, bytes);
}

absl::StatusOr<std::unique_ptr<GenerationLedger::Entry>> GenerationLedger::Admit(
    std::string client, absl::Span<const AdapterRef> adapters) {
  std::string adapter = AdapterLabel(adapters);
  {
    absl::MutexLock lock(&mutex_);
    if (const auto found = clients_.find(client); found != clients_.end()) {
      SHIRA_RETURN_IF_ERROR(CheckRead(client, found->second));
    }
    ++clients_[client].waiting;
    ++loads_[adapter].waiting;
  }
  return std::make_unique<Entry>(*this, std::move(client), std::move(adapter));
}

void GenerationLedger::FirstTokenCame(const std::string& client, const std::string& adapter) {
  absl::MutexLock lock(&mutex_);
  Client& of_client = clients_[client];
  --of_client.waiting;
  ++of_client.running;
  Load& load = loads_[adapter];
  --load.waiting;
  ++load.running;
}

void GenerationLedger::End(const Entry& entry, bool waiting) {
  absl::MutexLock lock(&mutex_);
  Client& client = clients_[entry.client_];
  --(waiting ? client.waiting : client.running);
  client.ended.insert(&entry);
  const auto it = loads_.find(entry.adapter_);
  --(waiting ? it->second.waiting : it->second.running);
  if (it->second.waiting == 0 && it->second.running == 0) loads_.erase(it);
}

void GenerationLedger::Remove(const Entry& entry) {
  absl::MutexLock lock(&mutex_);
  const auto it = clients_.find(entry.client_);
  Client& client = it->second;
  client.ended.erase(&entry);
  client.unread_bytes -= entry.unread_bytes_;
  unread_bytes_ -= entry.unread_bytes_;
  // Clients come and go.
  if (client.waiting == 0 && client.running == 0 && client.ended.empty()) clients_.erase(it);
}

absl::Status GenerationLedger::CheckRead(const std::string& name, const Client& client) const {
  const SteadyTime overdue = SteadyNow() - options_.last_words;
  int64_t calls = 0;
  int64_t bytes = 0;
  for (const Entry* entry : client.ended) {
    if (entry->end_ > overdue) continue;
    ++calls;
    bytes += entry->unread_bytes_ + entry->answer_bytes_;
  }
  if (client.waiting + calls >= options_.max_waiting_per_client) {
    return WithReason(
        absl::ResourceExhaustedError(StrCat("the client '", name, "' has ", client.waiting,
                                            " generations waiting and ", calls,
                                            " ended that it does not read, and may have no more")),
        "CLIENT_QUEUE_FULL",
        {{"client", name}, {"limit", StrCat(options_.max_waiting_per_client)}});
  }
  if (bytes <= share_bytes()) return absl::OkStatus();
  return WithReason(absl::ResourceExhaustedError(
                        StrCat("the client '", name, "' does not read ", calls, " answers of ",
                               bytes, " bytes: at most ", share_bytes(), " are kept")),
                    "ANSWER_NOT_READ", {{"client", name}, {"limit_bytes", StrCat(share_bytes())}});
}

absl::Status GenerationLedger::AddUnread(const std::string& client, int64_t bytes) {
  absl::MutexLock lock(&mutex_);
  unread_bytes_ += bytes;
  int64_t& of_client = clients_[client].unread_bytes;
  of_client += bytes;
  const bool fits = of_client <= share_bytes() && unread_bytes_ <= options_.max_unread_bytes;
  if (bytes <= 0 || fits) return absl::OkStatus();
  return WithReason(
      absl::ResourceExhaustedError(StrCat(
          "the client '", client, "' has ", of_client, " bytes of streams that it has not read (",
          unread_bytes_, " of all clients); at most ", share_bytes(), " (",
          options_.max_unread_bytes, ") are kept: read faster, or ask for less")),
      "ANSWER_NOT_READ", {{"client", client}, {"limit_bytes", StrCat(share_bytes())}});
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
