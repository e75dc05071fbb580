// File: server/metrics/server_samples.h
//
// The figures that engine, life cycle and process keep of themselves, as samples.

#ifndef SHIRA_SERVER_METRICS_SERVER_SAMPLES_H_
#define SHIRA_SERVER_METRICS_SERVER_SAMPLES_H_

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "server/engine/engine.h"
#include "server/lifecycle/adapter_lifecycle.h"
#include "server/lifecycle/lifecycle_stats.h"
#include "server/metrics/sample.h"

namespace shira {

// 1, with what there is to say in its labels.
Sample InfoSample(std::string name, std::string help,
                  std::vector<std::pair<std::string, std::string>> labels);

// `dropped_lines`: of the log.
std::vector<Sample> ProcessSamples(std::string_view version, absl::Time start_time,
                                   int64_t dropped_lines);

// Of all ports for calls.
struct ConnectionCounts {
  int64_t open = 0;
  int64_t accepted = 0;
  int64_t refused = 0;
  int64_t message_bytes = 0;     // of requests that arrive or are running
  int64_t refused_messages = 0;  // for which there was no memory
};
std::vector<Sample> ConnectionSamples(const ConnectionCounts& counts);

std::vector<Sample> EngineSamples(const EngineStats& stats);

std::vector<Sample> LifecycleSamples(const LifecycleStats& stats,
                                     const std::vector<AdapterInfo>& adapters);

// What generations ask of one adapter at a moment.
struct AdapterLoad {
  std::string adapter;
  int64_t waiting = 0;  // for the first token
  int64_t running = 0;
};

// The gauge of the Kubernetes model server protocol: which adapters run and wait, and how many may
// run in one batch. Its value is the time, in seconds since 1970.
Sample AdapterRequestsInfo(const std::vector<AdapterLoad>& loads, int64_t max_adapters_at_a_time,
                           absl::Time now);

// Resident memory of this process; 0 where the system does not tell.
int64_t ProcessMemoryBytes();

}  // namespace shira

#endif  // SHIRA_SERVER_METRICS_SERVER_SAMPLES_H_
