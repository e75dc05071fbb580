#include "server/metrics/metrics.h"

#include <prometheus/collectable.h>
#include <prometheus/counter.h>
#include <prometheus/family.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <map>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/strings/ascii.h"
#include "absl/synchronization/mutex.h"
#include "base/strings.h"
#include "server/access/method_access.h"

namespace shira {
namespace {

using prometheus::Counter;
using prometheus::Histogram;

constexpr std::string_view kOther = "other";

// Seconds. From a token of a small model to a long queue.
const Histogram::BucketBoundaries& WaitBuckets() {
  static const auto& buckets = *new Histogram::BucketBoundaries{
      0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120};
  return buckets;
}

const Histogram::BucketBoundaries& TokenBuckets() {
  static const auto& buckets = *new Histogram::BucketBoundaries{
      0.001, 0.0025, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.1, 0.25, 0.5, 1};
  return buckets;
}

std::string CodeName(absl::StatusCode code) {
  return absl::AsciiStrToLower(absl::StatusCodeToString(code));
}

prometheus::MetricType TypeOf(Sample::Kind kind) {
  switch (kind) {
    case Sample::Kind::kCounter:
      return prometheus::MetricType::Counter;
    case Sample::Kind::kHistogram:
      return prometheus::MetricType::Histogram;
    case Sample::Kind::kGauge:
      break;
  }
  return prometheus::MetricType::Gauge;
}

prometheus::ClientMetric ToMetric(const Sample& sample) {
  prometheus::ClientMetric metric;
  for (const auto& [name, value] : sample.labels) metric.label.push_back({name, value});
  switch (sample.kind) {
    case Sample::Kind::kCounter:
      metric.counter.value = sample.value;
      break;
    case Sample::Kind::kGauge:
      metric.gauge.value = sample.value;
      break;
    case Sample::Kind::kHistogram: {
      uint64_t count = 0;
      const Sample::Histogram& from = sample.histogram;
      for (size_t i = 0; i < from.counts.size(); ++i) {
        count += static_cast<uint64_t>(from.counts[i]);
        if (i < from.bounds.size()) metric.histogram.bucket.push_back({count, from.bounds[i]});
      }
      metric.histogram.bucket.push_back({count, std::numeric_limits<double>::infinity()});
      metric.histogram.sample_count = count;
      metric.histogram.sample_sum = from.sum;
      break;
    }
  }
  return metric;
}

}  // namespace

// Families are made once; their series are made on demand and stay.
class Metrics::Impl final : public prometheus::Collectable {
 public:
  explicit Impl(Options options) : options_(options) {}

  std::vector<prometheus::MetricFamily> Collect() const override
      ABSL_LOCKS_EXCLUDED(sources_mutex_) {
    // Gauges before counters: what has ended meanwhile is then counted at least once.
    std::map<std::string, prometheus::MetricFamily> sampled = Sampled();
    std::vector<prometheus::MetricFamily> families = registry_.Collect();
    for (auto& [name, family] : sampled) families.push_back(std::move(family));
    return families;
  }

  AdapterMetrics& ForAdapter(std::string_view label) ABSL_LOCKS_EXCLUDED(mutex_);

  void ObserveCall(std::string_view method, absl::StatusCode code, absl::Duration duration) {
    const std::string label(RolesFor(method).has_value() ? method : kOther);
    calls_.Add({{"method", label}, {"code", CodeName(code)}}).Increment();
    call_seconds_.Add({{"method", label}}, WaitBuckets()).Observe(absl::ToDoubleSeconds(duration));
  }

  void AddSource(SampleSource source) {
    absl::MutexLock lock(&sources_mutex_);
    sources_.push_back(std::move(source));
  }
  void RemoveSources() {
    absl::MutexLock lock(&sources_mutex_);
    sources_.clear();
  }

 private:
  std::map<std::string, prometheus::MetricFamily> Sampled() const
      ABSL_LOCKS_EXCLUDED(sources_mutex_) {
    std::map<std::string, prometheus::MetricFamily> sampled;
    absl::ReaderMutexLock lock(&sources_mutex_);
    for (const SampleSource& source : sources_) {
      for (const Sample& sample : source()) {
        prometheus::MetricFamily& family = sampled[sample.name];
        family.name = sample.name;
        family.help = sample.help;
        family.type = TypeOf(sample.kind);
        family.metric.push_back(ToMetric(sample));
      }
    }
    return sampled;
  }

  class Series;
  friend class Series;

  const Options options_;
  prometheus::Registry registry_;
  prometheus::Family<Counter>& calls_ =
      prometheus::BuildCounter()
          .Name("shira_calls_total")
          .Help("Calls that ended, by method and status code; refused ones included")
          .Register(registry_);
  prometheus::Family<Histogram>& call_seconds_ = prometheus::BuildHistogram()
                                                     .Name("shira_call_duration_seconds")
                                                     .Help("From a call's begin to its end")
                                                     .Register(registry_);
  prometheus::Family<Counter>& requests_ =
      prometheus::BuildCounter()
          .Name("shira_requests_total")
          .Help("Generations that ended, by adapter and outcome (a finish reason or a status code)")
          .Register(registry_);
  prometheus::Family<Counter>& prompt_tokens_ = prometheus::BuildCounter()
                                                    .Name("shira_prompt_tokens_total")
                                                    .Help("Tokens of prompts, by adapter")
                                                    .Register(registry_);
  prometheus::Family<Counter>& generated_tokens_ = prometheus::BuildCounter()
                                                       .Name("shira_generated_tokens_total")
                                                       .Help("Tokens of answers, by adapter")
                                                       .Register(registry_);
  prometheus::Family<Histogram>& first_token_ =
      prometheus::BuildHistogram()
          .Name("shira_time_to_first_token_seconds")
          .Help("From the submission of a generation to its first token, by adapter")
          .Register(registry_);
  prometheus::Family<Histogram>& inter_token_ =
      prometheus::BuildHistogram()
          .Name("shira_inter_token_seconds")
          .Help("From one token of a generation to its next, by adapter")
          .Register(registry_);
  prometheus::Family<Histogram>& queue_ =
      prometheus::BuildHistogram()
          .Name("shira_queue_seconds")
          .Help("From the submission of a generation to its first step, by adapter")
          .Register(registry_);

  absl::Mutex mutex_;
  absl::flat_hash_map<std::string, std::unique_ptr<Series>> adapters_ ABSL_GUARDED_BY(mutex_);
  std::unique_ptr<Series> other_ ABSL_GUARDED_BY(mutex_);

  mutable absl::Mutex sources_mutex_;
  std::vector<SampleSource> sources_ ABSL_GUARDED_BY(sources_mutex_);
};

class Metrics::Impl::Series final : public AdapterMetrics {
 public:
  Series(Impl& metrics, const std::string& label)
      : requests_(metrics.requests_),
        label_(label),
        prompt_tokens_(metrics.prompt_tokens_.Add({{"adapter", label}})),
        generated_tokens_(metrics.generated_tokens_.Add({{"adapter", label}})),
        first_token_(metrics.first_token_.Add({{"adapter", label}}, WaitBuckets())),
        inter_token_(metrics.inter_token_.Add({{"adapter", label}}, TokenBuckets())),
        queue_(metrics.queue_.Add({{"adapter", label}}, WaitBuckets())) {}

  void ObserveFirstToken(absl::Duration duration) override {
    first_token_.Observe(absl::ToDoubleSeconds(duration));
  }
  void ObserveInterToken(absl::Duration duration) override {
    inter_token_.Observe(absl::ToDoubleSeconds(duration));
  }
  void ObserveQueue(absl::Duration duration) override {
    queue_.Observe(absl::ToDoubleSeconds(duration));
  }
  void CountTokens(int64_t prompt, int64_t generated) override {
    prompt_tokens_.Increment(static_cast<double>(prompt));
    generated_tokens_.Increment(static_cast<double>(generated));
  }
  void CountRequest(std::string_view outcome) override {
    requests_.Add({{"adapter", label_}, {"outcome", std::string(outcome)}}).Increment();
  }

 private:
  prometheus::Family<Counter>& requests_;
  const std::string label_;
  Counter& prompt_tokens_;
  Counter& generated_tokens_;
  Histogram& first_token_;
  Histogram& inter_token_;
  Histogram& queue_;
};

AdapterMetrics& Metrics::Impl::ForAdapter(std::string_view label) {
  absl::MutexLock lock(&mutex_);
  const auto it = adapters_.find(ToAbsl(label));
  if (it != adapters_.end()) return *it->second;
  if (static_cast<int64_t>(adapters_.size()) >= options_.max_adapters) {
    if (other_ == nullptr) other_ = std::make_unique<Series>(*this, std::string(kOther));
    return *other_;
  }
  std::unique_ptr<Series>& series = adapters_[std::string(label)];
  series = std::make_unique<Series>(*this, std::string(label));
  return *series;
}

Metrics::Metrics(Options options) : impl_(std::make_shared<Impl>(options)) {}
Metrics::~Metrics() = default;

AdapterMetrics& Metrics::ForAdapter(std::string_view label) { return impl_->ForAdapter(label); }

void Metrics::ObserveCall(std::string_view method, absl::StatusCode code, absl::Duration duration) {
  impl_->ObserveCall(method, code, duration);
}

void Metrics::AddSource(SampleSource source) { impl_->AddSource(std::move(source)); }
void Metrics::RemoveSources() { impl_->RemoveSources(); }

std::string Metrics::Text() const {
  return prometheus::TextSerializer().Serialize(impl_->Collect());
}

std::shared_ptr<prometheus::Collectable> Metrics::collectable() const { return impl_; }

}  // namespace shira
