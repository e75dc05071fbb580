#include "server/metrics/exporter.h"

#include <prometheus/collectable.h>
#include <prometheus/exposer.h>

#include <exception>
#include <utility>

#include "base/strings.h"

namespace shira {

// Holds the collectable, which the exposer only watches.
class MetricsExporter::Impl {
 public:
  Impl(const std::string& listen, const Metrics& metrics)
      : collectable_(metrics.collectable()), exposer_(listen) {
    exposer_.RegisterCollectable(collectable_);
  }

  int port() const { return exposer_.GetListeningPorts().front(); }

 private:
  const std::shared_ptr<prometheus::Collectable> collectable_;
  prometheus::Exposer exposer_;
};

absl::StatusOr<std::unique_ptr<MetricsExporter>> MetricsExporter::Start(const std::string& listen,
                                                                        const Metrics& metrics) {
  // civetweb says that it cannot listen by throwing.
  try {
    return std::unique_ptr<MetricsExporter>(
        new MetricsExporter(std::make_unique<Impl>(listen, metrics)));
  } catch (const std::exception& error) {
    return absl::UnavailableError(
        StrCat("cannot listen on ", listen, " for metrics: ", std::string_view(error.what())));
  }
}

MetricsExporter::MetricsExporter(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
MetricsExporter::~MetricsExporter() = default;

int MetricsExporter::port() const { return impl_->port(); }

}  // namespace shira
