// File: server/metrics/exporter.h
//
// The metrics over HTTP, at /metrics, for Prometheus to scrape. Plain text, without authentication.
// One thread serves all clients with non-blocking I/O: a client that sends half a request, or does
// not read the response, does not delay the others.

#ifndef SHIRA_SERVER_METRICS_EXPORTER_H_
#define SHIRA_SERVER_METRICS_EXPORTER_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/metrics/metrics.h"

namespace shira {

class MetricsExporter {
 public:
  struct Options {
    std::string listen;  // HOST:PORT (port 0: any free one)
    // Beyond it, the connection that has been open for longest is closed.
    size_t max_connections = 64;
    absl::Duration timeout = absl::Seconds(10);  // for a request and its answer
  };

  // UNAVAILABLE if it cannot listen there. Keeps what it needs of `metrics`.
  static absl::StatusOr<std::unique_ptr<MetricsExporter>> Start(const Options& options,
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
