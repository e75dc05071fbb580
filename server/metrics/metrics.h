// File: server/metrics/metrics.h
//
// The server's metrics for Prometheus. Some are updated as events happen; the others are read from
// the objects that count them when the metrics are scraped. docs/operating.md lists all of them.

#ifndef SHIRA_SERVER_METRICS_METRICS_H_
#define SHIRA_SERVER_METRICS_METRICS_H_

#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "server/metrics/sample.h"

namespace prometheus {
class Collectable;
}  // namespace prometheus

namespace shira {

// The figures of one adapter. Thread-safe; observing takes less than a microsecond.
class AdapterMetrics {
 public:
  virtual ~AdapterMetrics() = default;

  virtual void ObserveFirstToken(absl::Duration since_submission) = 0;
  virtual void ObserveInterToken(absl::Duration since_last_token) = 0;
  virtual void ObserveQueue(absl::Duration duration) = 0;
  virtual void CountTokens(int64_t prompt, int64_t generated) = 0;
  // `outcome`: a finish reason or a status code, in lower case.
  virtual void CountRequest(std::string_view outcome) = 0;
};

// Thread-safe.
class Metrics {
 public:
  struct Options {
    // Adapters with figures of their own; those that come later share the label "other".
    int64_t max_adapters = 100;
  };

  explicit Metrics(Options options);
  ~Metrics();

  // `label`: the adapter's name, "base", or names with "+" between. Lives as long as this object.
  AdapterMetrics& ForAdapter(std::string_view label);

  // `method`: "/package.Service/Method". One that is not known here counts as "other": callers can
  // ask for any.
  void ObserveCall(std::string_view method, absl::StatusCode code, absl::Duration duration);

  // Until RemoveSources(), which waits for calls of sources.
  void AddSource(SampleSource source);
  void RemoveSources();

  // In Prometheus' text format.
  std::string Text() const;

  // For an exporter; shares what this object has.
  std::shared_ptr<prometheus::Collectable> collectable() const;

 private:
  class Impl;
  const std::shared_ptr<Impl> impl_;
};

}  // namespace shira

#endif  // SHIRA_SERVER_METRICS_METRICS_H_
