#include "server/metrics/metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <thread>
#include <vector>

#include "base/strings.h"
#include "server/metrics/server_samples.h"

namespace shira {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(MetricsTest, AdaptersBeyondTheLimitShareOneLabelForGood) {
  Metrics metrics({.max_adapters = 2});
  AdapterMetrics& first = metrics.ForAdapter("a");
  metrics.ForAdapter("b").CountTokens(1, 2);
  metrics.ForAdapter("c").CountTokens(1, 3);
  metrics.ForAdapter("d").CountTokens(1, 4);
  metrics.ForAdapter("c").CountRequest("stop");
  EXPECT_EQ(&metrics.ForAdapter("a"), &first);
  EXPECT_EQ(&metrics.ForAdapter("c"), &metrics.ForAdapter("d"));
  const std::string text = metrics.Text();
  EXPECT_THAT(text, HasSubstr("shira_generated_tokens_total{adapter=\"b\"} 2\n"));
  EXPECT_THAT(text, HasSubstr("shira_generated_tokens_total{adapter=\"other\"} 7\n"));
  EXPECT_THAT(text, HasSubstr("shira_requests_total{adapter=\"other\",outcome=\"stop\"} 1\n"));
  EXPECT_THAT(text, Not(HasSubstr("\"c\"")));
}

TEST(MetricsTest, NoneMayHaveALabelOfItsOwn) {
  Metrics metrics({.max_adapters = 0});
  metrics.ForAdapter("a").CountTokens(1, 2);
  EXPECT_THAT(metrics.Text(), HasSubstr("{adapter=\"other\"} 2\n"));
}

TEST(MetricsTest, CallersCannotMakeLabels) {
  Metrics metrics({});
  metrics.ObserveCall("/shira.v1.Inference/Generate", absl::StatusCode::kOk, absl::Seconds(1));
  metrics.ObserveCall("/x\"} 1\nforged", absl::StatusCode::kUnimplemented, absl::ZeroDuration());
  const std::string text = metrics.Text();
  EXPECT_THAT(text, HasSubstr("{code=\"ok\",method=\"/shira.v1.Inference/Generate\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("{code=\"unimplemented\",method=\"other\"} 1\n"));
  EXPECT_THAT(text, Not(HasSubstr("forged")));
}

TEST(MetricsTest, SourcesAreReadWhenSomebodyAsks) {
  Metrics metrics({});
  double value = 1;
  metrics.AddSource([&value] {
    Sample gauge{.name = "shira_g", .help = "G", .value = value};
    gauge.labels = {{"name", "quote\" back\\ line\n"}};
    Sample histogram{.name = "shira_h", .help = "H", .kind = Sample::Kind::kHistogram};
    histogram.histogram = {.bounds = {0.5, 1}, .counts = {1, 2, 4}, .sum = 9};
    return std::vector<Sample>{gauge, histogram};
  });
  value = 7;
  const std::string text = metrics.Text();
  EXPECT_THAT(text, HasSubstr("# TYPE shira_g gauge\n"));
  EXPECT_THAT(text, HasSubstr("shira_g{name=\"quote\\\" back\\\\ line\\n\"} 7\n"));
  EXPECT_THAT(text, HasSubstr("shira_h_count 7\nshira_h_sum 9\nshira_h_bucket{le=\"0.5\"} 1\n"
                              "shira_h_bucket{le=\"1\"} 3\nshira_h_bucket{le=\"+Inf\"} 7\n"));
  metrics.RemoveSources();
  EXPECT_THAT(metrics.Text(), Not(HasSubstr("shira_g")));
}

TEST(MetricsTest, WhatHasLeftASourceWhenItIsReadIsInTheCounters) {
  Metrics metrics({});
  AdapterMetrics& tone = metrics.ForAdapter("tone");
  tone.CountRequest("stop");
  metrics.AddSource([&tone] {
    tone.CountRequest("stop");  // ends just before its source is read
    return std::vector<Sample>{};
  });
  EXPECT_THAT(metrics.Text(),
              HasSubstr("shira_requests_total{adapter=\"tone\",outcome=\"stop\"} 2\n"));
}

TEST(MetricsTest, ThreadsMayObserveWhileOthersRead) {
  Metrics metrics({.max_adapters = 3});
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&metrics, t] {
      for (int i = 0; i < 500; ++i) {
        AdapterMetrics& adapter = metrics.ForAdapter(StrCat("a", (i + t) % 6));
        adapter.ObserveInterToken(absl::Milliseconds(i));
        adapter.CountTokens(0, 1);
        if (i % 100 == 0) metrics.Text();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  // Whatever the order of arrival: three and "other".
  const std::string text = metrics.Text();
  double sum = 0;
  for (size_t at = 0;
       (at = text.find("\nshira_generated_tokens_total{", at)) != std::string::npos;) {
    at = text.find("} ", at) + 2;
    sum += std::stod(text.substr(at));
  }
  EXPECT_EQ(sum, 2000);
}

TEST(ServerSamplesTest, TheProtocolsGaugeNamesAdaptersButNotTheBase) {
  const Sample sample = AdapterRequestsInfo(
      {{"a", 1, 2}, {"base", 5, 5}, {"b", 0, 1}, {"c+d", 3, 0}}, 8, absl::FromUnixSeconds(77));
  EXPECT_EQ(sample.value, 77);
  EXPECT_EQ(sample.labels, (decltype(sample.labels){{"max_lora", "8"},
                                                    {"running_lora_adapters", "a,b"},
                                                    {"waiting_lora_adapters", "a,c+d"}}));
}

TEST(ServerSamplesTest, WhatTheRegistryHasCountedInBucketsIsAHistogram) {
  LifecycleStats stats;
  stats.cold_starts.Add(absl::Milliseconds(3));
  stats.cold_starts.Add(absl::Seconds(100));
  stats.evicted_deltas = 5;
  AdapterInfo failed;
  failed.state = AdapterState::kFailed;
  Metrics metrics({});
  metrics.AddSource([&] { return LifecycleSamples(stats, {failed}); });
  const std::string text = metrics.Text();
  EXPECT_THAT(text, HasSubstr("shira_adapter_cold_start_seconds_sum 100.003\n"));
  EXPECT_THAT(text, HasSubstr("shira_adapter_cold_start_seconds_bucket{le=\"0.0025\"} 0\n"));
  EXPECT_THAT(text, HasSubstr("shira_adapter_cold_start_seconds_bucket{le=\"0.005\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("shira_adapter_cold_start_seconds_bucket{le=\"+Inf\"} 2\n"));
  EXPECT_THAT(text, HasSubstr("shira_adapter_evictions_total{what=\"deltas\"} 5\n"));
  EXPECT_THAT(text, HasSubstr("shira_adapters{state=\"failed\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("shira_adapters{state=\"ready\"} 0\n"));
}

TEST(ServerSamplesTest, KvUseIsTheShareThatRunningGenerationsHold) {
  const auto value = [](const EngineStats& stats, std::string_view name) {
    for (const Sample& sample : EngineSamples(stats)) {
      if (sample.name == name) return sample.value;
    }
    return -1.0;
  };
  EXPECT_EQ(value({}, "shira_kv_cache_usage_perc"), 0);
  EngineStats stats;
  stats.kv_used_bytes = 95;
  stats.kv_running_bytes = 25;
  stats.kv_budget_bytes = 100;
  EXPECT_EQ(value(stats, "shira_kv_cache_usage_perc"), 0.25);
  EXPECT_EQ(value(stats, "shira_kept_prefix_bytes"), 70);
}

}  // namespace
}  // namespace shira
