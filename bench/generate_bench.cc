// How long the forward pass takes: a worker that bench/generate.py asks in turn with the peers'.
//
//   generate_bench --model PATH [--dtype D] [--threads N] [--adapters DIR] [--instructions I]
//
// One JSON object a line on standard input, one on standard output for each. First comes
// {"ready": true, "machine": "...", "model": {...}}: what a step of this model has to read and to
// multiply, see Work(). Every answer may be {"error": "..."} instead.
//
//   {"op": "decode", "batch": 8, "context": 128, "seconds": 0.5, "states": 0}
//       -> {"ms": [...]}: steps of `batch` sequences that hold `context` tokens of their own, each
//       with one new token and all logits. states 0: base. 1: one adapter, fused. S: row i wants
//       adapter i mod S, and adapter 0 is the resident one.
//   {"op": "prefill", "tokens": 512, "seconds": 0.5, "states": 0}
//       -> {"ms": [...]}: prompts of so many tokens, logits of the last.
//   {"op": "limits"} -> {"read_bytes_per_s", "flops_per_s", "weight_bytes"}

#include <ATen/Parallel.h>
#include <hwy/targets.h>

#include <algorithm>
#include <chrono>
#include <iostream>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_format.h"
#include "adapters/format/adapter_reader.h"
#include "adapters/switch/switch_engine.h"
#include "base/status_macros.h"
#include "base/thread_team.h"
#include "bench/machine_limits.h"
#include "bench/timing.h"
#include "nlohmann/json.hpp"
#include "server/model/cpu_executor.h"
#include "server/model/kernels/bf16_products.h"
#include "server/model/resident_weights.h"
#include "server/model/weight_loader.h"
#include "server/server_options.h"

namespace shira::bench {
namespace {

using Json = nlohmann::json;
using Clock = std::chrono::steady_clock;

constexpr int kWarmUpSteps = 2;
constexpr int kLeastSteps = 3;
constexpr int64_t kStepRoom = 512;  // new tokens that a sequence has room for
constexpr int64_t kKvBytes = int64_t{4} << 30;

double MillisecondsSince(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

// Tokens without meaning: the time does not depend on them.
std::vector<int32_t> SomeTokens(int64_t count, int64_t salt) {
  std::vector<int32_t> tokens;
  for (int64_t i = 0; i < count; ++i) {
    tokens.push_back(static_cast<int32_t>(1000 + (i * 7919 + salt * 104729) % 40000));
  }
  return tokens;
}

class Worker {
 public:
  static absl::StatusOr<std::unique_ptr<Worker>> Create(const std::string& model, DType dtype,
                                                        int threads, std::string adapters,
                                                        Instructions permitted) {
    at::set_num_threads(threads);
    SHIRA_ASSIGN_OR_RETURN(const std::unique_ptr<WeightSource> source, WeightSource::Open(model));
    std::unique_ptr<Worker> worker(new Worker(threads, std::move(adapters), permitted));
    SHIRA_ASSIGN_OR_RETURN(worker->weights_,
                           ResidentWeights::Load(*source, dtype, worker->parallel_for_, {}));
    SHIRA_ASSIGN_OR_RETURN(
        worker->executor_,
        CreateCpuExecutor(*worker->weights_,
                          {.kv_budget_bytes = kKvBytes, .parallel_for = worker->parallel_for_}));
    worker->switch_ = std::make_unique<SwitchEngine>(
        worker->executor_->weights(), SwitchEngine::Options{.parallel_for = worker->parallel_for_});
    worker->states_.push_back(worker->switch_->base());
    worker->read_buffer_ = std::make_unique<LargeBuffer>(worker->weights_->bytes());
    return worker;
  }

  // What one token costs whoever computes it: elements of the matrices that are multiplied, of the
  // output matrix apart, since a prompt needs its product once; multiplications of its query and of
  // the scores with each token of context; bytes of keys and values of one token; bytes of the
  // weights that a step reads, which are all but an embedding matrix of its own.
  Json Work() const {
    const ModelConfig& config = weights_->config();
    int64_t linear_elements = 0, output_elements = 0, embedding_elements = 0;
    for (const TensorSpec& tensor : config.Tensors()) {
      if (tensor.is_vector()) continue;
      const TensorRole role = tensor.place.role;
      (role == TensorRole::kOutput      ? output_elements
       : role == TensorRole::kEmbedding ? embedding_elements
                                        : linear_elements) += tensor.elements();
    }
    const bool tied = output_elements == 0;
    const auto element_bytes = static_cast<int64_t>(DTypeSize(weights_->dtype()));
    return {
        {"linear_elements", linear_elements},
        {"output_elements", tied ? embedding_elements : output_elements},
        {"attention_products", 2 * config.num_layers * config.num_heads * config.head_dim},
        {"kv_bytes", 2 * config.num_layers * config.num_kv_heads * config.head_dim * element_bytes},
        {"step_bytes", weights_->bytes() - (tied ? 0 : embedding_elements * element_bytes)}};
  }

  Json Answer(const Json& request) {
    const std::string op = request.at("op");
    absl::StatusOr<Json> answer = absl::InvalidArgumentError("no operation " + op);
    if (op == "decode") answer = Decode(request);
    if (op == "prefill") answer = Prefill(request);
    if (op == "limits") answer = Limits();
    if (!answer.ok()) return {{"error", std::string(answer.status().message())}};
    return *std::move(answer);
  }

 private:
  using State = std::shared_ptr<const CompiledState>;

  Worker(int threads, std::string adapters, Instructions permitted)
      : adapters_(std::move(adapters)), permitted_(permitted), team_(threads) {}

  absl::StatusOr<Json> Limits() {
    double flops = 0;
    for (int i = 0; i < 3; ++i) {
      flops =
          std::max(flops, PeakFlops(weights_->dtype(), permitted_, team_.threads(), parallel_for_));
    }
    const int64_t bytes = weights_->bytes();
    std::vector<double> reads_ms;
    for (int i = 0; i < 31; ++i) {
      const Clock::time_point start = Clock::now();
      ReadOnce({read_buffer_->data(), static_cast<size_t>(bytes)}, parallel_for_);
      reads_ms.push_back(MillisecondsSince(start));
    }
    std::sort(reads_ms.begin(), reads_ms.end());
    return Json{
        {"read_bytes_per_s", static_cast<double>(bytes) / (reads_ms[reads_ms.size() / 2] / 1000)},
        {"flops_per_s", flops},
        {"weight_bytes", bytes}};
  }

  absl::StatusOr<Json> Decode(const Json& request) {
    const int64_t batch = request.at("batch");
    const int64_t context = request.at("context");
    SHIRA_ASSIGN_OR_RETURN(const std::vector<State> states, Resident(request.at("states")));
    SHIRA_RETURN_IF_ERROR(Remember(batch, context));
    std::vector<std::unique_ptr<SequenceCache>> caches;
    std::vector<BatchRow> rows;
    const std::vector<int32_t> tokens = SomeTokens(batch, 3);
    for (int64_t i = 0; i < batch; ++i) {
      // A fork of a sequence of its own: rows that shared pages would find them in the caches.
      SHIRA_ASSIGN_OR_RETURN(
          caches.emplace_back(),
          executor_->Fork(*sequences_[i], context, {.tokens = context + kStepRoom}));
      rows.push_back({.cache = caches.back().get(),
                      .tokens = absl::MakeConstSpan(tokens).subspan(i, 1),
                      .wants_logits = true,
                      .state = states[i % states.size()].get()});
    }
    return Repeat(request.at("seconds"),
                  [&] { return executor_->Forward(*states[0], rows).status(); });
  }

  absl::StatusOr<Json> Prefill(const Json& request) {
    const std::vector<int32_t> tokens = SomeTokens(request.at("tokens"), 5);
    SHIRA_ASSIGN_OR_RETURN(const std::vector<State> states, Resident(request.at("states")));
    return Repeat(request.at("seconds"), [&]() -> absl::Status {
      SHIRA_ASSIGN_OR_RETURN(
          const auto cache,
          executor_->NewSequence({.tokens = static_cast<int64_t>(tokens.size())}));
      const BatchRow row = {
          .cache = cache.get(), .tokens = tokens, .wants_logits = true, .state = states[0].get()};
      return executor_->Forward(*states[0], {&row, 1}).status();
    });
  }

  // Milliseconds of each run within `seconds`, after a warm-up.
  template <typename Run>
  static absl::StatusOr<Json> Repeat(double seconds, const Run& run) {
    std::vector<double> times;
    const Clock::time_point start = Clock::now();
    for (int64_t i = -kWarmUpSteps; i < kStepRoom - kWarmUpSteps; ++i) {
      const Clock::time_point before = Clock::now();
      SHIRA_RETURN_IF_ERROR(run());
      if (i >= 0) times.push_back(MillisecondsSince(before));
      if (i + 1 >= kLeastSteps && MillisecondsSince(start) > seconds * 1e3) break;
    }
    return Json{{"ms", times}};
  }

  // The first `count` adapters' states, or the base's; the first of them is made resident.
  absl::StatusOr<std::vector<State>> Resident(int64_t count) {
    while (static_cast<int64_t>(states_.size()) <= count) {
      if (adapters_.empty()) return absl::FailedPreconditionError("no --adapters");
      SHIRA_ASSIGN_OR_RETURN(
          auto adapter, Reader().Read(absl::StrFormat("%s/%02d", adapters_, states_.size() - 1)));
      SHIRA_ASSIGN_OR_RETURN(states_.emplace_back(), switch_->Compile({{adapter, 1.0}}));
    }
    std::vector<State> states(states_.begin(), states_.begin() + 1);
    if (count > 0) states.assign(states_.begin() + 1, states_.begin() + 1 + count);
    switch_->Apply(states[0]);
    return states;
  }

  const AdapterReader& Reader() {
    if (reader_ == nullptr) {
      BaseModelIdentity identity;
      for (const ParameterShape& parameter : switch_->parameters().parameters()) {
        identity.parameters[parameter.name] = {parameter.rows, parameter.cols};
      }
      reader_ = std::make_unique<AdapterReader>(std::move(identity), AdapterLimits{});
    }
    return *reader_;
  }

  // Sequences of `context` tokens, run once and kept.
  absl::Status Remember(int64_t count, int64_t context) {
    if (context != context_) sequences_.clear();
    context_ = context;
    const State resident = switch_->resident();
    while (static_cast<int64_t>(sequences_.size()) < count) {
      const std::vector<int32_t> tokens =
          SomeTokens(context, static_cast<int64_t>(sequences_.size()));
      SHIRA_ASSIGN_OR_RETURN(auto cache, executor_->NewSequence({.tokens = context}));
      const BatchRow row = {.cache = cache.get(), .tokens = tokens, .state = resident.get()};
      SHIRA_RETURN_IF_ERROR(executor_->Forward(*resident, {&row, 1}).status());
      sequences_.push_back(std::move(cache));
    }
    return absl::OkStatus();
  }

  const std::string adapters_;
  const Instructions permitted_;
  ThreadTeam team_;
  const ParallelFor parallel_for_ = team_.parallel_for();
  std::unique_ptr<ResidentWeights> weights_;
  std::unique_ptr<ModelExecutor> executor_;
  std::unique_ptr<SwitchEngine> switch_;
  std::unique_ptr<AdapterReader> reader_;
  std::unique_ptr<LargeBuffer> read_buffer_;  // as large as the weights
  std::vector<State> states_;                 // base, then the adapters
  int64_t context_ = 0;
  std::vector<std::unique_ptr<SequenceCache>> sequences_;
};

// Before the first kernel runs.
void Permit(Instructions instructions) {
  if (instructions != Instructions::kAll) SetBf16ProductsForTest(Bf16Products::kWidened);
  if (instructions == Instructions::kAvx512) hwy::SetSupportedTargetsForTest(HWY_AVX3);
  if (instructions == Instructions::kAvx2) hwy::SetSupportedTargetsForTest(HWY_AVX2);
}

}  // namespace
}  // namespace shira::bench

int main(int argc, char** argv) {
  using namespace shira;
  using namespace shira::bench;
  CLI::App app("Measures the forward pass, as bench/generate.py tells it on standard input");
  std::string model, dtype_name = "bfloat16", adapters;
  int threads = 2;
  Instructions permitted = Instructions::kAll;
  const std::map<std::string, Instructions> instructions = {{"all", Instructions::kAll},
                                                            {"AVX-512", Instructions::kAvx512},
                                                            {"AVX2", Instructions::kAvx2}};
  app.add_option("--model", model, "A Hugging Face folder or a .gguf file")->required();
  app.add_option("--dtype", dtype_name, "float32, bfloat16 or float16")->capture_default_str();
  app.add_option("--threads", threads, "For computing")->capture_default_str();
  app.add_option("--adapters", adapters, "A folder with adapters 00, 01, ...");
  app.add_option("--instructions", permitted, "The best ones that may be used: all, AVX-512, AVX2")
      ->transform(CLI::Transformer(instructions));
  CLI11_PARSE(app, argc, argv);

  Permit(permitted);
  const absl::StatusOr<DType> dtype = ParseResidentDType(dtype_name);
  const auto worker = dtype.ok() ? Worker::Create(model, *dtype, threads, adapters, permitted)
                                 : absl::StatusOr<std::unique_ptr<Worker>>(dtype.status());
  if (!worker.ok()) {
    std::cerr << worker.status() << "\n";
    return 1;
  }
  std::cout << Json{{"ready", true},
                    {"machine", MachineDescription()},
                    {"model", (*worker)->Work()}}
            << std::endl;
  for (std::string line; std::getline(std::cin, line);) {
    const Json request = Json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (request.is_discarded()) return 1;
    std::cout << (*worker)->Answer(request) << std::endl;
  }
  return 0;
}
