// File: server/metrics/sample.h
//
// One value that is read when the metrics are scraped.

#ifndef SHIRA_SERVER_METRICS_SAMPLE_H_
#define SHIRA_SERVER_METRICS_SAMPLE_H_

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace shira {

struct Sample {
  enum class Kind { kCounter, kGauge, kHistogram };
  // A histogram whose buckets were counted elsewhere.
  struct Histogram {
    std::vector<double> bounds;   // upper limits, inclusive, ascending
    std::vector<int64_t> counts;  // one more than bounds; not cumulative
    double sum = 0;
  };

  std::string name;  // "shira_..."; a counter ends in "_total"
  std::string help;
  Kind kind = Kind::kGauge;
  double value = 0;
  std::vector<std::pair<std::string, std::string>> labels = {};
  Histogram histogram = {};
};

// Called whenever metrics are asked for, on any thread. Samples of one name have one kind and help.
using SampleSource = std::function<std::vector<Sample>()>;

}  // namespace shira

#endif  // SHIRA_SERVER_METRICS_SAMPLE_H_
