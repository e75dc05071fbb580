// Sends a plan of requests to a server, each at its time, and reports when every token came. In C++
// on the client library, because client and server share the cores: a Python client would take a
// tenth of them.
//
//   load_client --address HOST:PORT < PLAN.json > REPORT.jsonl
//
// PLAN.json: [{"at": seconds, "adapter": "name" or "", "prompt": [token ids], "tokens": n}, ...]
// REPORT.jsonl, a line per request in the plan's order:
//   {"token_s": [...], "ids": [...], "error": ""}: arrival of each token, in seconds since the
//   first request's start; the load is open: requests start when the plan says, not when others
//   end.

#include <chrono>
#include <iostream>
#include <string>
#include <thread>
#include <vector>

#include "CLI/CLI.hpp"
#include "client/client.h"
#include "nlohmann/json.hpp"

namespace shira::bench {
namespace {

using Clock = std::chrono::steady_clock;

struct Outcome {
  std::vector<double> token_s;
  std::vector<int32_t> ids;
  std::string error;
};

v1::GenerateRequest RequestOf(const nlohmann::json& planned) {
  v1::GenerateRequest request;
  for (const int32_t id : planned.at("prompt")) request.mutable_token_ids()->add_ids(id);
  const std::string adapter = planned.at("adapter");
  request.mutable_adapter();  // of no entries: the base
  if (!adapter.empty()) request.mutable_adapter()->add_adapters()->set_name(adapter);
  request.mutable_stop()->set_max_tokens(planned.at("tokens"));
  request.mutable_stop()->set_ignore_eos(true);
  return request;
}

Outcome Run(const Client& client, const v1::GenerateRequest& request, Clock::time_point start) {
  Outcome outcome;
  const auto summary = client.StreamGenerate(request, [&](const auto& chunk) {
    const double now = std::chrono::duration<double>(Clock::now() - start).count();
    for (const int32_t id : chunk.token_ids()) {
      outcome.token_s.push_back(now);
      outcome.ids.push_back(id);
    }
    return true;
  });
  if (!summary.ok()) outcome.error = std::string(summary.status().message());
  return outcome;
}

// A thread per request, asleep most of the time.
std::vector<Outcome> RunAll(const Client& client, const nlohmann::json& plan) {
  std::vector<Outcome> outcomes(plan.size());
  std::vector<std::thread> threads;
  const Clock::time_point start = Clock::now() + std::chrono::milliseconds(100);
  for (size_t i = 0; i < plan.size(); ++i) {
    threads.emplace_back([&, i] {
      const v1::GenerateRequest request = RequestOf(plan[i]);
      std::this_thread::sleep_until(start + std::chrono::duration_cast<Clock::duration>(
                                                std::chrono::duration<double>(plan[i].at("at"))));
      outcomes[i] = Run(client, request, start);
    });
  }
  for (std::thread& thread : threads) thread.join();
  return outcomes;
}

}  // namespace
}  // namespace shira::bench

int main(int argc, char** argv) {
  using namespace shira;
  using namespace shira::bench;
  CLI::App app("Sends a plan of requests from standard input to a server");
  std::string address;
  app.add_option("--address", address, "The server")->required();
  CLI11_PARSE(app, argc, argv);
  const nlohmann::json plan = nlohmann::json::parse(std::cin, nullptr, /*allow_exceptions=*/false);
  if (!plan.is_array()) {
    std::cerr << "the plan is no JSON list\n";
    return 1;
  }
  const Client client({.address = address});
  if (const absl::Status ready = client.WaitUntilReady(); !ready.ok()) {
    std::cerr << ready << "\n";
    return 1;
  }
  for (const Outcome& outcome : RunAll(client, plan)) {
    std::cout << nlohmann::json{{"token_s", outcome.token_s},
                                {"ids", outcome.ids},
                                {"error", outcome.error}}
              << "\n";
  }
  return 0;
}
