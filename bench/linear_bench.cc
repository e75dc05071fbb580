// How long the linear layers of the demo model take, against LibTorch's and the machine's limits,
// in one run.
//
//   linear_bench [--dtype BF16,..] [--rows N,..] [--states N,..] [--r R] [--threads N] [--no-peers]
//                [--repetitions N] [--out FILE]
//
// Every row of activations goes through all linear layers of SmolLM2-135M's 30 blocks (q/k/v and
// gate/up are one product each). Up to 32 rows it goes through the output projection too, as in
// decoding; with more, only one row does, as when a prompt is read. Caches are cold before each
// run.
//
//   ours              the kernel, every row with the weights as they are in memory
//   ours, S states    the rows divided evenly among S states whose weights differ from memory in
//                     r (in + out) elements of every layer; with equal index tables, as PEFT's
//                     default masks have them, and with distinct ones
//   at::linear        LibTorch's, as is, and with oneDNN switched off
//
// The limit beside each row is the longer of reading the weights once, and doing the arithmetic at
// the speed of multiply-adds in registers; both are measured in turn with the rest.

#include <ATen/ATen.h>
#include <ATen/Context.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <iostream>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_format.h"
#include "base/float_types.h"
#include "base/thread_team.h"
#include "bench/machine_limits.h"
#include "bench/timing.h"
#include "nlohmann/json.hpp"
#include "server/model/kernels/linear.h"
#include "server/model/kernels/resident_types.h"

namespace shira::bench {
namespace {

constexpr int64_t kMaxDecodeRows = 32;
constexpr int64_t kHidden = 576;

struct Projection {
  std::vector<int64_t> parameter_rows;  // of the parameters, one below the other
  int64_t in;
  bool patched = true;

  int64_t out() const {
    int64_t rows = 0;
    for (const int64_t parameter : parameter_rows) rows += parameter;
    return rows;
  }
};

std::vector<Projection> DemoProjections() {
  std::vector<Projection> projections;
  for (int i = 0; i < 30; ++i) {
    projections.push_back({{576, 192, 192}, kHidden});
    projections.push_back({{576}, kHidden});
    projections.push_back({{1536, 1536}, kHidden});
    projections.push_back({{576}, 1536});
  }
  projections.push_back({{49152}, kHidden, /*patched=*/false});
  return projections;
}

std::shared_ptr<const IndexTable> RandomTable(int64_t rows, int64_t cols, int64_t count,
                                              std::mt19937_64& random) {
  std::vector<bool> taken(rows * cols);
  for (int64_t left = count; left > 0;) {
    const size_t position = random() % taken.size();
    if (taken[position]) continue;
    taken[position] = true;
    --left;
  }
  std::vector<int64_t> positions;
  for (size_t i = 0; i < taken.size(); ++i) {
    if (taken[i]) positions.push_back(static_cast<int64_t>(i));
  }
  return IndexTable::Create(rows, cols, positions).value();
}

// Small numbers of the dtype.
void Fill(DType dtype, std::byte* to, int64_t count, std::mt19937& random) {
  std::normal_distribution<float> normal(0.0f, 0.05f);
  std::vector<float> some(8191);
  for (float& value : some) value = normal(random);
  WithResidentType(dtype, [&]<typename T>(T) {
    for (int64_t i = 0; i < count; ++i) {
      reinterpret_cast<T*>(to)[i] = FromFloat<T>(some[i % some.size()]);
    }
  });
}

// A state of all patched projections.
class State {
 public:
  // Takes the tables of parameters whose shape is in `tables`, and adds the others to it.
  State(const std::vector<Projection>& projections, DType dtype, int64_t r,
        std::map<std::pair<int64_t, int64_t>, std::shared_ptr<const IndexTable>>& tables,
        std::mt19937_64& random) {
    std::mt19937 value_random(static_cast<uint32_t>(random()));
    for (const Projection& projection : projections) {
      patches_.emplace_back();
      if (!projection.patched) continue;
      int64_t first_row = 0;
      for (const int64_t rows : projection.parameter_rows) {
        auto& table = tables[{rows, projection.in}];
        if (table == nullptr) {
          table = RandomTable(rows, projection.in, r * (rows + projection.in), random);
        }
        // Each parameter's own memory, as compiled states have it; tables are shared.
        tables_.push_back(table);
        values_.emplace_back(table->entries() * DTypeSize(dtype));
        Fill(dtype, values_.back().data(), table->entries(), value_random);
        patches_.back().push_back(
            {.first_row = first_row, .table = table.get(), .values = values_.back().data()});
        first_row += rows;
      }
    }
  }

  absl::Span<const WeightPatch> patches(size_t projection) const { return patches_[projection]; }

 private:
  std::vector<std::shared_ptr<const IndexTable>> tables_;
  std::vector<std::vector<std::byte>> values_;
  std::vector<std::vector<WeightPatch>> patches_;  // per projection
};

struct Options {
  std::vector<int64_t> rows = {1, 2, 4, 8, 16, 32, 128, 512};
  std::vector<int64_t> states = {1, 2, 4, 8, 16};
  int64_t r = 2;
  int threads = 2;
  int repetitions = 9;
  bool peers = true;
};

class Runner {
 public:
  Runner(DType dtype, const Options& options, std::ostream* out)
      : dtype_(dtype),
        options_(options),
        out_(out),
        team_(options.threads),
        parallel_for_(team_.parallel_for()),
        projections_(DemoProjections()) {
    std::mt19937 random(1);
    int64_t elements = 0;
    for (const Projection& projection : projections_) elements += projection.out() * projection.in;
    weight_bytes_ = elements * static_cast<int64_t>(DTypeSize(dtype));
    memory_ = std::make_unique<LargeBuffer>(weight_bytes_);
    Fill(dtype, memory_->data(), elements, random);
    std::byte* next = memory_->data();
    const at::ScalarType type = dtype == DType::kBF16  ? at::kBFloat16
                                : dtype == DType::kF16 ? at::kHalf
                                                       : at::kFloat;
    int64_t widest = 0;
    for (const Projection& projection : projections_) {
      weights_.push_back({.data = next,
                          .bias = nullptr,
                          .dtype = dtype,
                          .out = projection.out(),
                          .in = projection.in});
      tensors_.push_back(at::from_blob(next, {projection.out(), projection.in}, type));
      next += tensors_.back().nbytes();
      widest = std::max(widest, projection.in);
    }
    const int64_t most_rows = *std::max_element(options.rows.begin(), options.rows.end());
    const int64_t decode_rows = std::min(most_rows, kMaxDecodeRows);
    x_ = at::randn({most_rows, widest}).to(type).to(at::kFloat);
    x_of_type_ = x_.to(type);
    y_ = at::empty({std::max(most_rows * 3072, decode_rows * 49152)});
    scratch_ = at::empty({LinearScratchBytes(most_rows, widest)}, at::kByte);
    std::mt19937_64 table_random(2);
    std::map<std::pair<int64_t, int64_t>, std::shared_ptr<const IndexTable>> shared;
    for (int64_t i = 0; i < MostStates(); ++i) {
      equal_.emplace_back(projections_, dtype, options.r, shared, table_random);
      std::map<std::pair<int64_t, int64_t>, std::shared_ptr<const IndexTable>> own;
      distinct_.emplace_back(projections_, dtype, options.r, own, table_random);
    }
  }

  void Run(int64_t rows) {
    std::vector<std::string> names = {"read weights", "multiply-add"};
    std::vector<double> peaks;  // of fp32 multiply-adds, one a turn
    std::vector<Workload> workloads = {
        {.prepare = nullptr,
         .work =
             [&] {
               ReadOnce({memory_->data(), static_cast<size_t>(weight_bytes_)}, parallel_for_);
             }},
        {.prepare = nullptr, .work = [&] {
           peaks.push_back(
               PeakFlops(DType::kF32, Instructions::kAll, options_.threads, parallel_for_));
         }}};
    const auto add = [&](const std::string& name, std::function<void()> work) {
      names.push_back(name);
      workloads.push_back({.prepare = nullptr, .work = std::move(work)});
    };
    add("ours", [=, this] { Ours(rows, 0, equal_); });
    if (options_.peers) {
      add("at::linear", [=, this] { Torch(rows, true); });
      add("at::linear, oneDNN off", [=, this] { Torch(rows, false); });
    }
    for (const int64_t states : options_.states) {
      if (rows % states != 0 || rows > kMaxDecodeRows) continue;
      add(absl::StrFormat("ours, %d states, equal tables", states),
          [=, this] { Ours(rows, states, equal_); });
      add(absl::StrFormat("ours, %d states, distinct tables", states),
          [=, this] { Ours(rows, states, distinct_); });
    }
    const std::vector<Timing> timings = MeasureInTurn(options_.repetitions, workloads);
    const double read = timings[0].median();
    std::nth_element(peaks.begin(), peaks.begin() + peaks.size() / 2, peaks.end());
    const double flops_per_second = peaks[peaks.size() / 2];
    const double limit = std::max(read, Flops(rows) / flops_per_second);
    for (size_t i = 2; i < names.size(); ++i) {
      Row(names[i], rows, timings[i], timings[2], limit, flops_per_second);
    }
  }

 private:
  int64_t MostStates() const {
    int64_t most = 0;
    for (const int64_t states : options_.states) most = std::max(most, states);
    return most;
  }

  int64_t RowsOf(size_t projection, int64_t rows) const {
    return projection + 1 == weights_.size() && rows > kMaxDecodeRows ? 1 : rows;
  }

  double Flops(int64_t rows) const {
    double flops = 0.0;
    for (size_t i = 0; i < weights_.size(); ++i) {
      flops += 2.0 * static_cast<double>(RowsOf(i, rows) * weights_[i].out * weights_[i].in);
    }
    return flops;
  }

  // states: 0 for the weights as they are in memory.
  void Ours(int64_t rows, int64_t states, const std::vector<State>& all_states) {
    std::vector<RowGroup> groups;
    for (size_t i = 0; i < weights_.size(); ++i) {
      groups.clear();
      if (states == 0 || !projections_[i].patched) {
        groups.push_back({.begin = 0, .end = RowsOf(i, rows), .patches = {}});
      } else {
        const int64_t each = rows / states;
        for (int64_t s = 0; s < states; ++s) {
          groups.push_back(
              {.begin = s * each, .end = (s + 1) * each, .patches = all_states[s].patches(i)});
        }
      }
      Linear(weights_[i], x_.data_ptr<float>(), groups, y_.data_ptr<float>(),
             reinterpret_cast<std::byte*>(scratch_.data_ptr<uint8_t>()), parallel_for_);
    }
  }

  void Torch(int64_t rows, bool one_dnn) {
    at::globalContext().setUserEnabledMkldnn(one_dnn);
    for (size_t i = 0; i < weights_.size(); ++i) {
      const int64_t in = weights_[i].in;
      const at::Tensor x =
          x_of_type_.flatten().narrow(0, 0, RowsOf(i, rows) * in).view({RowsOf(i, rows), in});
      at::linear(x, tensors_[i]);
    }
    at::globalContext().setUserEnabledMkldnn(true);
  }

  void Row(const std::string& way, int64_t rows, const Timing& timing, const Timing& ours,
           double limit, double flops_per_second) {
    nlohmann::json row = {{"machine", MachineDescription()},
                          {"dtype", std::string(DTypeName(dtype_))},
                          {"threads", options_.threads},
                          {"r", options_.r},
                          {"rows", rows},
                          {"way", way},
                          {"median_ms", timing.median() * 1e3},
                          {"best_ms", timing.best() * 1e3},
                          {"over_ours", timing.MedianRatio(ours)},
                          {"limit_ms", limit * 1e3},
                          {"gflops", Flops(rows) / timing.median() * 1e-9},
                          {"peak_gflops", flops_per_second * 1e-9}};
    for (const double seconds : timing.seconds) row["ms"].push_back(seconds * 1e3);
    if (out_ != nullptr) *out_ << row.dump() << std::endl;
    std::cout << absl::StrFormat(
                     "%-4s %4d rows  %-32s %9.2f ms  best %9.2f  x%5.2f ours  limit %8.2f ms"
                     "  %6.1f of %.1f GFLOP/s",
                     DTypeName(dtype_), rows, way, timing.median() * 1e3, timing.best() * 1e3,
                     timing.MedianRatio(ours), limit * 1e3, Flops(rows) / timing.median() * 1e-9,
                     flops_per_second * 1e-9)
              << std::endl;
  }

  const DType dtype_;
  const Options options_;
  std::ostream* out_;
  ThreadTeam team_;
  const ParallelFor parallel_for_;
  const std::vector<Projection> projections_;
  int64_t weight_bytes_ = 0;
  std::unique_ptr<LargeBuffer> memory_;
  std::vector<LinearWeight> weights_;
  std::vector<at::Tensor> tensors_;  // the same memory
  at::Tensor x_, x_of_type_, y_, scratch_;
  std::vector<State> equal_, distinct_;
};

}  // namespace
}  // namespace shira::bench

int main(int argc, char** argv) {
  using namespace shira;
  using namespace shira::bench;
  CLI::App app("How long the demo model's linear layers take");
  Options options;
  std::vector<std::string> dtypes = {"BF16", "F16", "F32"};
  std::string out_path;
  bool no_peers = false;
  app.add_option("--dtype", dtypes, "BF16, F16, F32")->delimiter(',')->capture_default_str();
  app.add_option("--rows", options.rows, "Rows of activations")
      ->delimiter(',')
      ->capture_default_str();
  app.add_option("--states", options.states, "States that up to 32 rows are divided among")
      ->delimiter(',')
      ->capture_default_str();
  app.add_option("--r", options.r, "r (in + out) elements of each layer")->capture_default_str();
  app.add_option("--threads", options.threads, "Threads")->capture_default_str();
  app.add_option("--repetitions", options.repetitions, "Runs of each")->capture_default_str();
  app.add_flag("--no-peers", no_peers, "Without LibTorch's products");
  app.add_option("--out", out_path, "File that JSON rows are appended to");
  CLI11_PARSE(app, argc, argv);

  options.peers = !no_peers;
  at::set_num_threads(options.threads);
  std::ofstream out;
  if (!out_path.empty()) out.open(out_path, std::ios::app);
  for (const DType dtype : {DType::kBF16, DType::kF16, DType::kF32}) {
    if (std::find(dtypes.begin(), dtypes.end(), DTypeName(dtype)) == dtypes.end()) continue;
    Runner runner(dtype, options, out_path.empty() ? nullptr : &out);
    for (const int64_t rows : options.rows) runner.Run(rows);
  }
  return 0;
}
