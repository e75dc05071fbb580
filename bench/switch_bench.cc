// How long a switch takes, against LibTorch's own scatter kernels and the limit that memory sets,
// in one run.
//
//   switch_bench [--model demo|llama7b] [--r R,R...] [--layers N] [--out FILE]
//
// Workloads, each for bf16 and fp32, and 1 and 2 threads, with cold caches:
//   demo      the linear layers of SmolLM2-135M at r = 1, 2, 8, 20 (PEFT's count of entries: r *
//   (in + out) per layer) llama7b   as many layers of Llama-7B's shapes as --layers says, at 1 %
//   and 2 % of their elements
//
// Operations: apply, revert, A -> B with equal and with distinct index tables, a blend of three
// applied, its compilation; peers: index_put_ and scatter_ of LibTorch writing the same elements.
// One JSON object a line goes to --out; a table to standard output.
//
// The limit beside each row is what any program has to move: every touched cache line read and
// written once, and the tables read once, over the read+write bandwidth that this run measured with
// the same number of threads.

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <fstream>
#include <iostream>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_format.h"
#include "adapters/switch/switch_engine.h"
#include "bench/timing.h"
#include "nlohmann/json.hpp"
#include "server/model/torch_parallel.h"

namespace shira::bench {
namespace {

constexpr int kRepetitions = 9;
constexpr int64_t kCacheLineBytes = 64;

struct LayerShape {
  std::string name;
  int64_t rows;
  int64_t cols;
};

struct Workload {
  std::string name;
  std::vector<LayerShape> shapes;
  // Entries of a layer.
  std::function<int64_t(const LayerShape&)> entries;
};

std::vector<LayerShape> DemoShapes() {
  std::vector<LayerShape> shapes;
  for (int i = 0; i < 30; ++i) {
    const std::string prefix = absl::StrFormat("model.layers.%d.", i);
    shapes.push_back({prefix + "q", 576, 576});
    shapes.push_back({prefix + "k", 192, 576});
    shapes.push_back({prefix + "v", 192, 576});
    shapes.push_back({prefix + "o", 576, 576});
    shapes.push_back({prefix + "gate", 1536, 576});
    shapes.push_back({prefix + "up", 1536, 576});
    shapes.push_back({prefix + "down", 576, 1536});
  }
  return shapes;
}

std::vector<LayerShape> Llama7bShapes(int layers) {
  std::vector<LayerShape> shapes;
  for (int i = 0; i < layers; ++i) {
    const std::string prefix = absl::StrFormat("model.layers.%d.", i);
    for (const char* name : {"q", "k", "v", "o"}) shapes.push_back({prefix + name, 4096, 4096});
    for (const char* name : {"gate", "up"}) shapes.push_back({prefix + name, 11008, 4096});
    shapes.push_back({prefix + "down", 4096, 11008});
  }
  return shapes;
}

// `count` random positions, ascending. Equal seeds give equal tables for equal shapes, as PEFT's
// default mask does.
std::shared_ptr<const IndexTable> RandomTable(const LayerShape& shape, int64_t count,
                                              uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<bool> taken(shape.rows * shape.cols);
  for (int64_t left = count; left > 0;) {
    const size_t position = random() % taken.size();
    if (taken[position]) continue;
    taken[position] = true;
    --left;
  }
  std::vector<int64_t> flat;
  flat.reserve(count);
  for (size_t i = 0; i < taken.size(); ++i) {
    if (taken[i]) flat.push_back(static_cast<int64_t>(i));
  }
  return *IndexTable::Create(shape.rows, shape.cols, flat);
}

std::shared_ptr<const SparseAdapter> RandomAdapter(const Workload& workload, uint64_t table_seed,
                                                   uint64_t value_seed) {
  std::mt19937_64 random(value_seed);
  std::normal_distribution<float> normal(0.0f, 0.01f);
  std::map<std::pair<int64_t, int64_t>, std::shared_ptr<const IndexTable>> tables;
  auto adapter = std::make_shared<SparseAdapter>();
  for (const LayerShape& shape : workload.shapes) {
    std::shared_ptr<const IndexTable>& table = tables[{shape.rows, shape.cols}];
    if (table == nullptr) table = RandomTable(shape, workload.entries(shape), table_seed);
    ParameterDelta& delta = adapter->deltas.emplace_back();
    delta.parameter = shape.name;
    delta.table = table;
    for (int64_t i = 0; i < table->entries(); ++i) delta.values.push_back(normal(random));
  }
  adapter->digest = Sha256::Of(absl::StrFormat("%d %d", table_seed, value_seed));
  return adapter;
}

// Cache lines of the weights that a state touches.
int64_t TouchedLines(const ParameterMap& parameters, const CompiledState& state) {
  int64_t lines = 0;
  for (const CompiledParameter& p : state.parameters) {
    const std::byte* data = parameters.parameters()[p.parameter].data;
    uintptr_t last = 0;
    p.table->ForEach([&](uint32_t, int64_t position) {
      const uintptr_t line =
          reinterpret_cast<uintptr_t>(data + position * parameters.element_bytes()) /
          kCacheLineBytes;
      lines += line != last;
      last = line;
    });
  }
  return lines;
}

class Runner {
 public:
  Runner(const Workload& workload, DType dtype, std::ostream* out)
      : workload_(workload), dtype_(dtype), out_(out) {
    const at::ScalarType type = dtype == DType::kBF16 ? at::kBFloat16 : at::kFloat;
    std::vector<ResidentParameter> parameters;
    for (const LayerShape& shape : workload.shapes) {
      weights_.push_back(at::randn({shape.rows, shape.cols}, at::kFloat).to(type));
      parameters.push_back({shape.name, shape.rows, shape.cols,
                            static_cast<std::byte*>(weights_.back().data_ptr())});
    }
    engine_ =
        std::make_unique<SwitchEngine>(*ParameterMap::Create(dtype, std::move(parameters)),
                                       SwitchEngine::Options{.parallel_for = TorchParallelFor()});
  }

  void Run(int threads) {
    threads_ = threads;
    at::set_num_threads(threads);
    bandwidth_ = MeasureReadWriteBandwidth(TorchParallelFor());
    const auto a = RandomAdapter(workload_, 1, 1);
    const auto shared = RandomAdapter(workload_, 1, 2);
    const auto distinct = RandomAdapter(workload_, 2, 3);
    const auto third = RandomAdapter(workload_, 3, 4);
    const auto state_a = *engine_->Compile({{a, 1.0}});
    const auto state_shared = *engine_->Compile({{shared, 1.0}});
    const auto state_distinct = *engine_->Compile({{distinct, 1.0}});
    const std::vector<WeightedAdapterRef> blend = {{a, 0.5}, {distinct, 0.3}, {third, 0.2}};
    const auto state_blend = *engine_->Compile(blend);
    const auto base = engine_->base();

    const double apply =
        Switch("apply", base, state_a, TouchedLines(engine_->parameters(), *state_a));
    Switch("revert", state_a, base, TouchedLines(engine_->parameters(), *state_a));
    Switch("a_to_b_shared", state_a, state_shared, TouchedLines(engine_->parameters(), *state_a));
    const auto state_union = *engine_->Compile({{a, 1.0}, {distinct, 1.0}});
    Switch("a_to_b_distinct", state_a, state_distinct,
           TouchedLines(engine_->parameters(), *state_union));
    Switch("apply_blend_of_three", base, state_blend,
           TouchedLines(engine_->parameters(), *state_blend));
    engine_->Apply(base);
    Report("compile",
           MeasureCold(
               3, [] {},
               [&] {
                 (void)*engine_->Compile({{third, 0.7}});
               }),
           state_a->entries(), 0, 0);
    Report("compile_blend_of_three",
           MeasureCold(
               3, [] {}, [&] { (void)*engine_->Compile(blend); }),
           state_blend->entries(), 0, 0);
    Peers(*state_a, apply);
    ReportMemory(*state_a, *state_shared);
  }

 private:
  // Seconds of the median.
  double Switch(const std::string& operation, const std::shared_ptr<const CompiledState>& from,
                const std::shared_ptr<const CompiledState>& to, int64_t lines) {
    const Timing timing = MeasureCold(
        kRepetitions, [&] { engine_->Apply(from); }, [&] { engine_->Apply(to); });
    int64_t table_bytes = 0;
    for (const CompiledParameter& p : (to->parameters.empty() ? from : to)->parameters) {
      table_bytes += p.table->memory_bytes() + static_cast<int64_t>(p.fused.size());
    }
    if (operation == "a_to_b_distinct") table_bytes *= 2;
    const int64_t entries = (to->parameters.empty() ? from : to)->entries();
    Report(operation, timing, entries, lines, 2 * lines * kCacheLineBytes + table_bytes);
    return timing.median();
  }

  // The same elements written by LibTorch. Its indices are prepared outside of the timing, as ours
  // are.
  void Peers(const CompiledState& state, double apply) {
    std::vector<at::Tensor> rows, cols, flat, values;
    for (const CompiledParameter& p : state.parameters) {
      at::Tensor row = at::empty({p.table->entries()}, at::kLong);
      at::Tensor col = at::empty({p.table->entries()}, at::kLong);
      p.table->ForEach([&](uint32_t entry, int64_t position) {
        row.data_ptr<int64_t>()[entry] = position / p.table->cols();
        col.data_ptr<int64_t>()[entry] = position % p.table->cols();
      });
      flat.push_back(row * p.table->cols() + col);
      rows.push_back(row);
      cols.push_back(col);
      values.push_back(at::from_blob(const_cast<std::byte*>(p.fused.data()), {p.table->entries()},
                                     weights_[0].scalar_type())
                           .clone());
    }
    const Timing index_put = MeasureCold(
        kRepetitions, [] {},
        [&] {
          for (size_t i = 0; i < rows.size(); ++i)
            weights_[i].index_put_({rows[i], cols[i]}, values[i]);
        });
    const Timing scatter = MeasureCold(
        kRepetitions, [] {},
        [&] {
          for (size_t i = 0; i < rows.size(); ++i)
            weights_[i].view({-1}).scatter_(0, flat[i], values[i]);
        });
    engine_->Apply(engine_->base());
    for (size_t i = 0; i < rows.size(); ++i) {  // undo what the peers wrote
      const CompiledParameter& p = state.parameters[i];
      weights_[i].index_put_({rows[i], cols[i]},
                             at::from_blob(const_cast<std::byte*>(p.originals->data()),
                                           {p.table->entries()}, weights_[0].scalar_type()));
    }
    Report("peer_torch_index_put", index_put, state.entries(), 0, 0, index_put.median() / apply);
    Report("peer_torch_scatter", scatter, state.entries(), 0, 0, scatter.median() / apply);
  }

  void ReportMemory(const CompiledState& first, const CompiledState& further) {
    const double entries = static_cast<double>(first.entries());
    int64_t further_bytes = 0;
    for (size_t i = 0; i < further.parameters.size(); ++i) {
      const CompiledParameter& p = further.parameters[i];
      further_bytes += static_cast<int64_t>(p.fused.size());
      if (p.originals != first.parameters[i].originals)
        further_bytes += static_cast<int64_t>(p.originals->size());
      if (p.table->digest() != first.parameters[i].table->digest())
        further_bytes += p.table->memory_bytes();
    }
    Row({{"operation", "memory"},
         {"bytes_per_entry_first", first.memory_bytes() / entries},
         {"bytes_per_entry_further", further_bytes / entries}});
  }

  void Report(const std::string& operation, const Timing& timing, int64_t entries, int64_t lines,
              int64_t bytes, double slower_than_apply = 0) {
    const double limit = bytes / bandwidth_;
    nlohmann::json row = {{"operation", operation},
                          {"entries", entries},
                          {"median_ms", timing.median() * 1e3},
                          {"best_ms", timing.best() * 1e3}};
    if (lines > 0) {
      row["touched_lines"] = lines;
      row["limit_ms"] = limit * 1e3;
      row["over_limit"] = timing.median() / limit;
    }
    if (slower_than_apply > 0) row["slower_than_apply"] = slower_than_apply;
    row["ms"] = nlohmann::json::array();
    for (const double seconds : timing.seconds) row["ms"].push_back(seconds * 1e3);
    Row(std::move(row));
  }

  void Row(nlohmann::json row) {
    row["workload"] = workload_.name;
    row["dtype"] = std::string(DTypeName(dtype_));
    row["threads"] = threads_;
    row["bandwidth_gb_s"] = bandwidth_ / 1e9;
    row["machine"] = MachineDescription();
    if (out_ != nullptr) *out_ << row.dump() << std::endl;
    const auto number = [&](const char* key) {
      return row.contains(key) ? row[key].get<double>() : 0.0;
    };
    if (row["operation"] == "memory") {
      std::cout << absl::StrFormat(
          "%-14s %-4s %d  bytes per entry: first adapter %.2f, a further one with equal indices "
          "%.2f\n",
          workload_.name, DTypeName(dtype_), threads_, number("bytes_per_entry_first"),
          number("bytes_per_entry_further"));
      return;
    }
    std::cout << absl::StrFormat("%-14s %-4s %d  %-24s %9.3f ms   limit %7.3f ms  x%.2f   %s\n",
                                 workload_.name, DTypeName(dtype_), threads_,
                                 row["operation"].get<std::string>(), number("median_ms"),
                                 number("limit_ms"), number("over_limit"),
                                 row.contains("slower_than_apply")
                                     ? absl::StrFormat("%.1f x apply", number("slower_than_apply"))
                                     : "")
              << std::flush;
  }

  const Workload& workload_;
  const DType dtype_;
  std::ostream* out_;
  std::vector<at::Tensor> weights_;
  std::unique_ptr<SwitchEngine> engine_;
  int threads_ = 1;
  double bandwidth_ = 1;
};

}  // namespace
}  // namespace shira::bench

int main(int argc, char** argv) {
  using namespace shira;
  using namespace shira::bench;
  CLI::App app("How long a switch takes, against LibTorch and the memory's limit");
  std::string model = "demo";
  int layers = 4;
  std::vector<int> ranks = {1, 2, 8, 20};
  std::string out_path;
  app.add_option("--r", ranks, "Of the demo: r * (in + out) entries a layer")
      ->delimiter(',')
      ->capture_default_str();
  app.add_option("--model", model, "demo or llama7b")
      ->check(CLI::IsMember({"demo", "llama7b"}))
      ->capture_default_str();
  app.add_option("--layers", layers, "Layers of llama7b: each takes 0.4 GB in bf16")
      ->capture_default_str();
  app.add_option("--out", out_path, "File that JSON rows are appended to");
  CLI11_PARSE(app, argc, argv);

  std::vector<Workload> workloads;
  if (model == "demo") {
    for (const int r : ranks) {
      workloads.push_back({absl::StrFormat("demo r=%d", r), DemoShapes(),
                           [r](const LayerShape& shape) { return r * (shape.rows + shape.cols); }});
    }
  } else {
    for (const int percent : {1, 2}) {
      workloads.push_back(
          {absl::StrFormat("llama7b %d%%", percent), Llama7bShapes(layers),
           [percent](const LayerShape& shape) { return shape.rows * shape.cols * percent / 100; }});
    }
  }
  std::ofstream out;
  if (!out_path.empty()) out.open(out_path, std::ios::app);
  for (const Workload& workload : workloads) {
    for (const DType dtype : {DType::kBF16, DType::kF32}) {
      Runner runner(workload, dtype, out_path.empty() ? nullptr : &out);
      for (const int threads : {1, 2}) runner.Run(threads);
    }
  }
  return 0;
}
