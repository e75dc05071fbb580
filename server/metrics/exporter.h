// File: server/metrics/exporter.h
//
// The metrics over HTTP, at /metrics, for Prometheus to fetch. Plain text and open to whoever
// reaches the port.

#ifndef SHIRA_SERVER_METRICS_EXPORTER_H_
#define SHIRA_SERVER_METRICS_EXPORTER_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "server/metrics/metrics.h"

namespace shira {

class MetricsExporter {
 public:
  // Listens on HOST:PORT (port 0: any free one). UNAVAILABLE if that cannot be. Keeps what it needs
  // of `metrics`.
  static absl::StatusOr<std::unique_ptr<MetricsExporter>> Start(const std::string& listen,
                                                                const Metrics& metrics);
  ~MetricsExporter();

  int port() const;

 private:
  class Impl;
  explicit MetricsExporter(std::unique_ptr<Impl> impl);
  const std::unique_ptr<Impl> impl_;
};

}  // namespace shira

#endif  // SHIRA_SERVER_METRICS_EXPORTER_H_
