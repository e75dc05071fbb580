#include "server/metrics/server_samples.h"

#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <utility>

#include "base/strings.h"

namespace shira {
namespace {

Sample Gauge(std::string name, std::string help, double value) {
  return {.name = std::move(name),
          .help = std::move(help),
          .kind = Sample::Kind::kGauge,
          .value = value};
}

Sample Counter(std::string name, std::string help, double value) {
  return {.name = std::move(name),
          .help = std::move(help),
          .kind = Sample::Kind::kCounter,
          .value = value};
}

Sample Labelled(Sample sample, std::string name, std::string_view value) {
  sample.labels.emplace_back(std::move(name), value);
  return sample;
}

template <const auto& kBounds>
Sample Histogram(std::string name, std::string help, const DurationHistogram<kBounds>& durations) {
  Sample sample{.name = std::move(name), .help = std::move(help), .kind = Sample::Kind::kHistogram};
  sample.histogram = {.bounds = {kBounds.begin(), kBounds.end()},
                      .counts = {durations.counts.begin(), durations.counts.end()},
                      .sum = absl::ToDoubleSeconds(durations.sum)};
  return sample;
}

double Number(int64_t value) { return static_cast<double>(value); }

std::string_view StateLabel(AdapterState state) {
  switch (state) {
    case AdapterState::kLoading:
      return "loading";
    case AdapterState::kReady:
      return "ready";
    case AdapterState::kUnloading:
      return "unloading";
    case AdapterState::kFailed:
      break;
  }
  return "failed";
}

void AppendName(const std::string& name, std::string& list) {
  StrAppend(&list, list.empty() ? "" : ",", name);
}

}  // namespace

Sample InfoSample(std::string name, std::string help,
                  std::vector<std::pair<std::string, std::string>> labels) {
  Sample sample = Gauge(std::move(name), std::move(help), 1);
  sample.labels = std::move(labels);
  return sample;
}

std::vector<Sample> ProcessSamples(std::string_view version, absl::Time start_time,
                                   int64_t dropped_lines) {
  return {
      InfoSample("shira_build_info", "This server", {{"version", std::string(version)}}),
      Gauge("process_resident_memory_bytes", "Resident memory of the process",
            Number(ProcessMemoryBytes())),
      Gauge("process_start_time_seconds", "When the process started, in seconds since 1970",
            absl::ToDoubleSeconds(start_time - absl::UnixEpoch())),
      Counter("shira_log_lines_dropped_total",
              "Log lines that were dropped because their reader was too slow",
              Number(dropped_lines)),
  };
}

std::vector<Sample> ConnectionSamples(const ConnectionCounts& counts) {
  return {
      Gauge("shira_connections", "Connections that are open", Number(counts.open)),
      Counter("shira_connections_accepted_total", "Connections that were taken",
              Number(counts.accepted)),
      Counter("shira_connections_refused_total",
              "Connections that were closed at once: there were too many", Number(counts.refused)),
      Gauge("shira_message_bytes", "Memory of requests that arrive or are running",
            Number(counts.message_bytes)),
      Counter("shira_messages_refused_total", "Requests that there was no memory for",
              Number(counts.refused_messages)),
  };
}

std::vector<Sample> EngineSamples(const EngineStats& stats) {
  // Kept prefixes go as soon as a request needs their memory: a server that is full of them has
  // room.
  const double kv_share = stats.kv_budget_bytes > 0
                              ? Number(stats.kv_running_bytes) / Number(stats.kv_budget_bytes)
                              : 0;
  std::vector<Sample> samples = {
      Gauge("shira_num_requests_waiting", "Generations in the queue", Number(stats.queued)),
      Gauge("shira_num_requests_running", "Generations that hold KV memory", Number(stats.running)),
      Gauge("shira_kv_cache_usage_perc",
            "Share of the KV memory that running generations hold; 1 is all of it", kv_share),
      Gauge("shira_kv_cache_bytes", "KV memory in use, kept prefixes included",
            Number(stats.kv_used_bytes)),
      Gauge("shira_kept_prefix_bytes",
            "KV memory of kept prefixes alone, which are evicted when it is needed",
            Number(std::max<int64_t>(0, stats.kv_used_bytes - stats.kv_running_bytes))),
      Gauge("shira_kv_cache_budget_bytes", "KV memory that may be used",
            Number(stats.kv_budget_bytes)),
      Counter("shira_switches_total", "Switches of the resident weights to another state",
              Number(stats.switches)),
      Counter("shira_switch_seconds_total", "Time that switches took",
              absl::ToDoubleSeconds(stats.switch_time)),
      Gauge("shira_running_rows", "Answers in progress", Number(stats.running_rows)),
      Histogram("shira_step_seconds", "Forward passes", stats.step_time),
      Counter("shira_step_rows_total", "Rows of steps: answers that went on, and prompts",
              Number(stats.step_rows)),
      Counter("shira_patched_rows_total", "Of these, rows whose weights were patched in cache",
              Number(stats.patched_rows)),
      Counter("shira_prefix_hits_total", "Generations that reused a kept prompt prefix",
              Number(stats.prefix_hits)),
      Counter("shira_prefix_misses_total", "Generations that found no kept prompt prefix",
              Number(stats.prefix_misses)),
      Counter("shira_cached_prompt_tokens_total",
              "Prompt tokens that were reused from kept prefixes",
              Number(stats.cached_prompt_tokens)),
      Gauge("shira_kept_prefixes", "Prompt prefixes that are kept", Number(stats.kept_prefixes)),
      Counter("shira_rejected_total", "Generations that were refused because the queue was full",
              Number(stats.rejected)),
      Counter("shira_not_finite_total", "Generations that ended because logits were not finite",
              Number(stats.not_finite)),
  };
  for (const auto& [weights, count] :
       {std::pair("fused", stats.fused_steps), std::pair("patched", stats.patched_steps)}) {
    samples.push_back(
        Labelled(Counter("shira_steps_total", "Forward passes, by how their rows got their weights",
                         Number(count)),
                 "weights", weights));
  }
  for (const auto& [result, count] :
       {std::pair("accepted", stats.accepted_tokens),
        std::pair("rejected", stats.drafted_tokens - stats.accepted_tokens)}) {
    samples.push_back(Labelled(
        Counter("shira_drafted_tokens_total",
                "Tokens that were run as guesses, by whether they were what came", Number(count)),
        "result", result));
  }
  return samples;
}

std::vector<Sample> LifecycleSamples(const LifecycleStats& stats,
                                     const std::vector<AdapterInfo>& adapters) {
  std::map<std::string_view, int64_t> states = {
      {"loading", 0}, {"ready", 0}, {"unloading", 0}, {"failed", 0}};
  for (const AdapterInfo& info : adapters) ++states[StateLabel(info.state)];
  std::vector<Sample> samples = {
      Histogram("shira_adapter_load_seconds", "Loads that succeeded: read, checked and compiled",
                stats.loads),
      Histogram("shira_adapter_compile_seconds", "Uses whose state had to be compiled",
                stats.compilations),
      Histogram("shira_adapter_cold_start_seconds", "Uses whose files had to be read again",
                stats.cold_starts),
      Counter("shira_adapter_warm_uses_total", "Uses whose state was in memory",
              Number(stats.warm_uses)),
      Counter("shira_adapter_load_failures_total", "Loads that failed", Number(stats.failed_loads)),
      Counter("shira_adapter_shared_loads_total", "Loads that waited for one of the same adapter",
              Number(stats.shared_loads)),
      Counter("shira_adapter_unloads_total", "Versions that were unloaded or replaced",
              Number(stats.unloads)),
      Gauge("shira_adapters_in_memory", "Adapters that can be switched to at once",
            Number(stats.in_memory)),
      Gauge("shira_adapters_pinned", "Adapters that stay in memory", Number(stats.pinned)),
      Gauge("shira_adapter_aliases", "Aliases", Number(stats.aliases)),
      Gauge("shira_adapter_memory_bytes", "Memory of adapters and compiled states",
            Number(stats.memory_in_use_bytes)),
      Gauge("shira_adapter_memory_budget_bytes", "Memory that these may take",
            Number(stats.memory_budget_bytes)),
      Gauge("shira_upload_bytes", "Disk of uploads", Number(stats.upload_in_use_bytes)),
      Gauge("shira_upload_quota_bytes", "Disk that uploads may take; 0: there are none",
            Number(stats.upload_quota_bytes)),
      Gauge("shira_state_file_unsaved_changes", "Changes that could not be saved; 0 is good",
            Number(stats.unsaved_changes)),
  };
  for (const auto& [what, count] :
       {std::pair("states", stats.evicted_states), std::pair("deltas", stats.evicted_deltas)}) {
    samples.push_back(
        Labelled(Counter("shira_adapter_evictions_total",
                         "States and deltas that were evicted from memory", Number(count)),
                 "what", what));
  }
  for (const auto& [state, count] : states) {
    samples.push_back(
        Labelled(Gauge("shira_adapters", "Adapters by state", Number(count)), "state", state));
  }
  return samples;
}

Sample AdapterRequestsInfo(const std::vector<AdapterLoad>& loads, int64_t max_adapters_at_a_time,
                           absl::Time now) {
  std::string running;
  std::string waiting;
  for (const AdapterLoad& load : loads) {
    if (load.adapter == "base") continue;
    if (load.running > 0) AppendName(load.adapter, running);
    if (load.waiting > 0) AppendName(load.adapter, waiting);
  }
  Sample sample = Gauge("shira_lora_requests_info",
                        "Adapters of running and waiting generations; the value is the time",
                        absl::ToDoubleSeconds(now - absl::UnixEpoch()));
  sample.labels = {{"max_lora", StrCat(max_adapters_at_a_time)},
                   {"running_lora_adapters", std::move(running)},
                   {"waiting_lora_adapters", std::move(waiting)}};
  return sample;
}

int64_t ProcessMemoryBytes() {
  int64_t total_pages = 0;
  int64_t resident_pages = 0;
  std::ifstream("/proc/self/statm") >> total_pages >> resident_pages;
  return resident_pages * sysconf(_SC_PAGESIZE);
}

}  // namespace shira
