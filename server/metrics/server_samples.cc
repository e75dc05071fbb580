#include "server/metrics/server_samples.h"

#include <unistd.h>

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

std::vector<Sample> ProcessSamples(std::string_view version, absl::Time start_time) {
  return {
      InfoSample("shira_build_info", "This server", {{"version", std::string(version)}}),
      Gauge("process_resident_memory_bytes", "Resident memory of the process",
            Number(ProcessMemoryBytes())),
      Gauge("process_start_time_seconds", "When the process started, in seconds since 1970",
            absl::ToDoubleSeconds(start_time - absl::UnixEpoch())),
  };
}

std::vector<Sample> EngineSamples(const EngineStats& stats) {
  const double kv_share =
      stats.kv_budget_bytes > 0 ? Number(stats.kv_used_bytes) / Number(stats.kv_budget_bytes) : 0;
  std::vector<Sample> samples = {
      Gauge("shira_num_requests_waiting", "Generations in the queue", Number(stats.queued)),
      Gauge("shira_num_requests_running", "Generations that hold KV memory", Number(stats.running)),
      Gauge("shira_kv_cache_usage_perc", "Share of the KV memory that is in use; 1 is all of it",
            kv_share),
      Gauge("shira_kv_cache_bytes", "KV memory in use", Number(stats.kv_used_bytes)),
      Gauge("shira_kv_cache_budget_bytes", "KV memory that may be used",
            Number(stats.kv_budget_bytes)),
      Counter("shira_switches_total", "Times that the resident weights went to another state",
              Number(stats.switches)),
      Counter("shira_switch_seconds_total", "Time that switches took",
              absl::ToDoubleSeconds(stats.switch_time)),
  };
  for (const auto& [weights, count] :
       {std::pair("fused", stats.fused_steps), std::pair("patched", stats.patched_steps)}) {
    Sample sample = Counter("shira_steps_total",
                            "Forward passes, by how their rows got their weights", Number(count));
    sample.labels = {{"weights", weights}};
    samples.push_back(std::move(sample));
  }
  return samples;
}

std::vector<Sample> RegistrySamples(const std::vector<AdapterInfo>& adapters,
                                    int64_t memory_in_use_bytes, int64_t memory_budget_bytes) {
  std::map<std::string_view, int64_t> states = {
      {"loading", 0}, {"ready", 0}, {"unloading", 0}, {"failed", 0}};
  int64_t in_memory = 0;
  for (const AdapterInfo& info : adapters) {
    ++states[StateLabel(info.state)];
    in_memory += info.residency != AdapterResidency::kOnDisk ? 1 : 0;
  }
  std::vector<Sample> samples = {
      Gauge("shira_adapters_in_memory", "Adapters that can be switched to at once",
            Number(in_memory)),
      Gauge("shira_adapter_memory_bytes", "Memory of adapters and compiled states",
            Number(memory_in_use_bytes)),
      Gauge("shira_adapter_memory_budget_bytes", "Memory that these may take",
            Number(memory_budget_bytes)),
  };
  for (const auto& [state, count] : states) {
    Sample sample = Gauge("shira_adapters", "Adapters by state", Number(count));
    sample.labels = {{"state", std::string(state)}};
    samples.push_back(std::move(sample));
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
