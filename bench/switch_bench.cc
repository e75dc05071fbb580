// How long a switch takes, against LibTorch's own scatter kernels and the limit that memory sets,
// in one run.
//
//   switch_bench [--model demo|llama7b] [--r R,R...] [--layers N] [--adapters DIR] [--out FILE]
//
// Scenarios, each for bf16 and fp32, and 1 and 2 threads, with cold caches:
//   demo      the linear layers of SmolLM2-135M at r = 1, 2, 8, 20, with PEFT's count of entries: r
//   *
//             (in + out) per layer
//   llama7b   as many layers of Llama-7B's shapes as --layers says, at 1 % and 2 % of their
//   elements
//
// Operations: apply, revert, A -> B with equal and with distinct index tables, a blend of three
// applied, compilation, loading from disk; peers: index_put_ and scatter_ of LibTorch writing the
// same elements. One JSON object a line goes to --out; a table to standard output.
//
// The limit beside each row is what any program has to move: every touched cache line read and
// written once, and the tables read once, over the read+write bandwidth. It is
// measured in turn with the switch: ratios are medians of ratios within one turn.

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
#include "adapters/format/adapter_reader.h"
#include "adapters/format/packed_writer.h"
#include "adapters/switch/host_weight_memory.h"
#include "adapters/switch/switch_engine.h"
#include "base/thread_team.h"
#include "bench/demo_shapes.h"
#include "bench/timing.h"
#include "nlohmann/json.hpp"

namespace shira::bench {
namespace {

constexpr int kRepetitions = 9;
constexpr int64_t kCacheLineBytes = 64;

struct Scenario {
  std::string name;
  std::vector<LayerShape> shapes;
  // Entries of a layer.
  std::function<int64_t(const LayerShape&)> entries;
  std::string adapter;  // folder of one that PEFT saved; may be empty
};

std::vector<LayerShape> Llama7bShapes(int layers) {
  std::vector<LayerShape> shapes;
  for (int i = 0; i < layers; ++i) {
    const std::string prefix = absl::StrFormat("model.layers.%d.", i);
    for (const char* name : {"q", "k", "v", "o"}) {
      shapes.push_back({prefix + "self_attn." + name + "_proj", 4096, 4096});
    }
    for (const char* name : {"gate", "up"}) {
      shapes.push_back({prefix + "mlp." + name + "_proj", 11008, 4096});
    }
    shapes.push_back({prefix + "mlp.down_proj", 4096, 11008});
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

std::shared_ptr<const SparseAdapter> RandomAdapter(const Scenario& scenario, uint64_t table_seed,
                                                   uint64_t value_seed) {
  std::mt19937_64 random(value_seed);
  std::normal_distribution<float> normal(0.0f, 0.01f);
  std::map<std::pair<int64_t, int64_t>, std::shared_ptr<const IndexTable>> tables;
  auto adapter = std::make_shared<SparseAdapter>();
  for (const LayerShape& shape : scenario.shapes) {
    std::shared_ptr<const IndexTable>& table = tables[{shape.rows, shape.cols}];
    if (table == nullptr) table = RandomTable(shape, scenario.entries(shape), table_seed);
    ParameterDelta& delta = adapter->deltas.emplace_back();
    delta.parameter = shape.parameter();
    delta.table = table;
    for (int64_t i = 0; i < table->entries(); ++i) delta.values.push_back(normal(random));
  }
  adapter->digest = Sha256::Of(absl::StrFormat("%d %d", table_seed, value_seed));
  return adapter;
}

// Cache lines of the weights that a state touches: their first bytes, in order within a parameter.
std::vector<std::byte*> TouchedLines(const HostWeightMemory& memory, const CompiledState& state) {
  std::vector<std::byte*> lines;
  for (const CompiledParameter& p : state.parameters) {
    std::byte* data = memory.bytes(p.parameter).data();
    p.table->ForEach([&](uint32_t, int64_t position) {
      std::byte* element = data + position * memory.parameters().element_bytes();
      std::byte* line = element - reinterpret_cast<uintptr_t>(element) % kCacheLineBytes;
      if (lines.empty() || line != lines.back()) lines.push_back(line);
    });
  }
  return lines;
}

// Reads and writes back each line, and does nothing else: what scattered lines cost on a machine
// whose processors wait for few of them at a time.
void TouchLines(absl::Span<std::byte* const> lines) {
  constexpr size_t kAhead = 32;
  for (size_t i = 0; i < lines.size(); ++i) {
    __builtin_prefetch(lines[std::min(i + kAhead, lines.size() - 1)], 1, 3);
    volatile uint64_t* word = reinterpret_cast<uint64_t*>(lines[i]);
    *word = *word;
  }
}

class Runner {
 public:
  Runner(const Scenario& scenario, DType dtype, std::ostream* out)
      : scenario_(scenario), dtype_(dtype), out_(out) {
    const at::ScalarType type = dtype == DType::kBF16 ? at::kBFloat16 : at::kFloat;
    size_t bytes = 0;
    for (const LayerShape& shape : scenario.shapes) {
      bytes += shape.rows * shape.cols * DTypeSize(dtype);
    }
    memory_ = std::make_unique<LargeBuffer>(bytes);
    std::byte* next = memory_->data();
    std::vector<ResidentParameter> parameters;
    for (const LayerShape& shape : scenario.shapes) {
      weights_.push_back(at::from_blob(next, {shape.rows, shape.cols}, type));
      weights_.back().normal_();
      next += weights_.back().nbytes();
      parameters.push_back({shape.parameter(), shape.rows, shape.cols,
                            static_cast<std::byte*>(weights_.back().data_ptr())});
    }
    host_weights_ = *HostWeightMemory::Create(dtype, parameters, parallel_for_);
    engine_ = std::make_unique<SwitchEngine>(*host_weights_,
                                             SwitchEngine::Options{.parallel_for = parallel_for_});
  }

  // `adapter_folder` is empty, or has an adapter of this scenario as PEFT saved it.
  void Run(int threads, const std::string& adapter_folder) {
    threads_ = threads;
    team_ = std::make_unique<ThreadTeam>(threads);
    at::set_num_threads(threads);  // for LibTorch's kernels
    const auto a = RandomAdapter(scenario_, 1, 1);
    const auto shared = RandomAdapter(scenario_, 1, 2);
    const auto distinct = RandomAdapter(scenario_, 2, 3);
    const auto third = RandomAdapter(scenario_, 3, 4);
    const auto state_a = *engine_->Compile({{a, 1.0}});
    const auto state_shared = *engine_->Compile({{shared, 1.0}});
    const auto state_distinct = *engine_->Compile({{distinct, 1.0}});
    const std::vector<WeightedAdapterRef> blend = {{a, 0.5}, {distinct, 0.3}, {third, 0.2}};
    const auto state_blend = *engine_->Compile(blend);
    const auto state_union = *engine_->Compile({{a, 1.0}, {distinct, 1.0}});
    const auto base = engine_->base();

    Switch("apply", base, state_a, *state_a);
    Switch("revert", state_a, base, *state_a);
    Switch("a_to_b_shared", state_a, state_shared, *state_a);
    Switch("a_to_b_distinct", state_a, state_distinct, *state_union);
    Switch("apply_blend_of_three", base, state_blend, *state_blend);
    Peers(state_a);
    engine_->Apply(base);
    Time("compile", state_a->entries(), [&] { (void)*engine_->Compile({{third, 0.7}}); });
    Time("compile_blend_of_three", state_blend->entries(), [&] { (void)*engine_->Compile(blend); });
    if (!adapter_folder.empty()) TimeLoading(adapter_folder);
    ReportMemory(*state_a, *state_shared);
  }

 private:
  BaseModelIdentity Identity() const {
    BaseModelIdentity identity;
    for (const LayerShape& shape : scenario_.shapes) {
      identity.parameters[shape.parameter()] = {shape.rows, shape.cols};
    }
    return identity;
  }

  // PEFT's folder, and the same adapter in a packed file beside it. A reader of its own for each
  // run: no index table is there yet.
  void TimeLoading(const std::string& folder) {
    const auto load = [this](const std::string& path) {
      return *AdapterReader(Identity(), {}).Read(path);
    };
    const auto adapter = load(folder);
    Time("load_from_disk", adapter->entries(), [&] { (void)load(folder); });
    for (const bool bf16 : {true, false}) {
      const PackedFile packed = *PackAdapter(*adapter, {.round_to_bf16 = bf16});
      const std::string path = folder + (bf16 ? "-bf16.shira" : "-exact.shira");
      std::ofstream(path, std::ios::binary) << packed.bytes;
      Time(bf16 ? "load_packed_bf16" : "load_packed_exact", adapter->entries(),
           [&] { (void)load(path); });
    }
  }

  // `touched` has the positions that the switch has to visit.
  void Switch(const std::string& operation, const std::shared_ptr<const CompiledState>& from,
              const std::shared_ptr<const CompiledState>& to, const CompiledState& touched) {
    BandwidthProbe probe(parallel_for_);
    const std::vector<std::byte*> lines = TouchedLines(*host_weights_, touched);
    const auto touch = [&] {
      parallel_for_(static_cast<int64_t>(lines.size()), [&](int64_t begin, int64_t end) {
        TouchLines(absl::MakeConstSpan(lines).subspan(begin, end - begin));
      });
    };
    const std::vector<Timing> timings = MeasureInTurn(
        kRepetitions,
        {{.prepare = [&] { engine_->Apply(from); }, .work = [&] { engine_->Apply(to); }},
         probe.workload(),
         {.prepare = nullptr, .work = touch}});
    int64_t table_bytes = 0;
    const bool equal_tables =
        !from->parameters.empty() && !to->parameters.empty() &&
        from->parameters[0].table->digest() == to->parameters[0].table->digest();
    for (const auto& state : {from, to}) {
      if (state == from && equal_tables) continue;  // nothing of it is read
      for (const CompiledParameter& p : state->parameters) {
        table_bytes += p.table->memory_bytes() + static_cast<int64_t>(p.fused.size());
      }
    }
    const int64_t line_bytes = static_cast<int64_t>(lines.size()) * kCacheLineBytes;
    const double bytes = static_cast<double>(2 * line_bytes + table_bytes);
    const double share = bytes / probe.bytes();  // of a run of the probe
    nlohmann::json row = TimingRow(operation, timings[0], touched.entries());
    row["touched_lines"] = lines.size();
    row["limit_ms"] = timings[1].median() * share * 1e3;
    row["over_limit"] = timings[0].MedianRatio(timings[1]) / share;
    row["bare_lines_ms"] = timings[2].median() * 1e3;
    row["over_bare_lines"] = timings[0].MedianRatio(timings[2]);
    row["bandwidth_gb_s"] = probe.bytes() / timings[1].median() / 1e9;
    Row(std::move(row));
  }

  void Time(const std::string& operation, int64_t entries, std::function<void()> work) {
    Row(TimingRow(operation, MeasureInTurn(3, {{.prepare = nullptr, .work = work}})[0], entries));
  }

  // The same elements written by LibTorch, in turn with our own. Its indices are prepared outside
  // of the timing, as ours are.
  void Peers(const std::shared_ptr<const CompiledState>& state) {
    std::vector<at::Tensor> rows, cols, flat, values, originals;
    const auto elements = [&](const std::vector<std::byte>& bytes) {
      return at::from_blob(const_cast<std::byte*>(bytes.data()),
                           {static_cast<int64_t>(bytes.size() / DTypeSize(dtype_))},
                           weights_[0].scalar_type());
    };
    for (const CompiledParameter& p : state->parameters) {
      at::Tensor row = at::empty({p.table->entries()}, at::kLong);
      at::Tensor col = at::empty({p.table->entries()}, at::kLong);
      p.table->ForEach([&](uint32_t entry, int64_t position) {
        row.data_ptr<int64_t>()[entry] = position / p.table->cols();
        col.data_ptr<int64_t>()[entry] = position % p.table->cols();
      });
      flat.push_back(row * p.table->cols() + col);
      rows.push_back(row);
      cols.push_back(col);
      values.push_back(elements(p.fused));
      originals.push_back(elements(*p.originals));
    }
    const auto put_back = [&] {
      for (size_t i = 0; i < rows.size(); ++i)
        weights_[i].index_put_({rows[i], cols[i]}, originals[i]);
    };
    const auto index_put = [&] {
      for (size_t i = 0; i < rows.size(); ++i)
        weights_[i].index_put_({rows[i], cols[i]}, values[i]);
    };
    const auto scatter = [&] {
      for (size_t i = 0; i < rows.size(); ++i) {
        weights_[i].view({-1}).scatter_(0, flat[i], values[i]);
      }
    };
    const std::vector<Timing> timings = MeasureInTurn(
        kRepetitions, {{.prepare = [&] { engine_->Apply(engine_->base()); },
                        .work = [&] { engine_->Apply(state); }},
                       {.prepare = [&] { engine_->Apply(engine_->base()); }, .work = index_put},
                       {.prepare = put_back, .work = scatter}});
    put_back();
    for (const auto& [name, timing] : {std::pair("peer_torch_index_put", &timings[1]),
                                       std::pair("peer_torch_scatter", &timings[2])}) {
      nlohmann::json row = TimingRow(name, *timing, state->entries());
      row["slower_than_apply"] = timing->MedianRatio(timings[0]);
      Row(std::move(row));
    }
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

  static nlohmann::json TimingRow(const std::string& operation, const Timing& timing,
                                  int64_t entries) {
    nlohmann::json row = {{"operation", operation},
                          {"entries", entries},
                          {"median_ms", timing.median() * 1e3},
                          {"best_ms", timing.best() * 1e3}};
    for (const double seconds : timing.seconds) row["ms"].push_back(seconds * 1e3);
    return row;
  }

  void Row(nlohmann::json row) {
    row["workload"] = scenario_.name;
    row["dtype"] = std::string(DTypeName(dtype_));
    row["threads"] = threads_;
    row["machine"] = MachineDescription();
    if (out_ != nullptr) *out_ << row.dump() << std::endl;
    std::cout << absl::StrFormat("%-10s %-4s %d  %-24s", scenario_.name, DTypeName(dtype_),
                                 threads_, row["operation"].get<std::string>());
    const std::pair<const char*, const char*> columns[] = {
        {"median_ms", "%9.3f ms"},
        {"limit_ms", "   limit %7.3f ms"},
        {"over_limit", " x%.2f"},
        {"over_bare_lines", "   %.2f x the bare lines"},
        {"slower_than_apply", "   %.1f x apply"},
        {"bytes_per_entry_first", " first adapter %.2f B per entry,"},
        {"bytes_per_entry_further", " a further one with equal indices %.2f"}};
    for (const auto& [key, format] : columns) {
      if (!row.contains(key)) continue;
      std::cout << absl::StrFormat(*absl::ParsedFormat<'f'>::New(format), row[key].get<double>());
    }
    std::cout << std::endl;
  }

  const Scenario& scenario_;
  const DType dtype_;
  std::ostream* out_;
  std::unique_ptr<LargeBuffer> memory_;
  std::vector<at::Tensor> weights_;  // views of memory_, one after the other
  std::unique_ptr<HostWeightMemory> host_weights_;
  std::unique_ptr<SwitchEngine> engine_;
  int threads_ = 1;
  std::unique_ptr<ThreadTeam> team_;
  const ParallelFor parallel_for_ = [this](int64_t count, auto body) {
    team_ == nullptr ? SerialFor(count, body) : team_->For(count, body);
  };
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
  std::string adapters;
  std::string out_path;
  app.add_option("--r", ranks, "Of the demo: r * (in + out) entries a layer")
      ->delimiter(',')
      ->capture_default_str();
  app.add_option("--model", model, "demo or llama7b")
      ->check(CLI::IsMember({"demo", "llama7b"}))
      ->capture_default_str();
  app.add_option("--layers", layers, "Layers of llama7b: each takes 0.4 GB in bf16")
      ->capture_default_str();
  app.add_option("--adapters", adapters,
                 "Of the demo: a folder with adapters r1, r2, ... as peft_switch.py saves them");
  app.add_option("--out", out_path, "File that JSON rows are appended to");
  CLI11_PARSE(app, argc, argv);

  std::vector<Scenario> scenarios;
  if (model == "demo") {
    for (const int r : ranks) {
      scenarios.push_back({absl::StrFormat("demo r=%d", r), DemoShapes(),
                           [r](const LayerShape& shape) { return r * (shape.rows + shape.cols); },
                           adapters.empty() ? "" : absl::StrFormat("%s/r%d", adapters, r)});
    }
  } else {
    for (const int percent : {1, 2}) {
      scenarios.push_back(
          {absl::StrFormat("llama7b %d%%", percent), Llama7bShapes(layers),
           [percent](const LayerShape& shape) { return shape.rows * shape.cols * percent / 100; },
           ""});
    }
  }
  std::ofstream out;
  if (!out_path.empty()) out.open(out_path, std::ios::app);
  for (const Scenario& scenario : scenarios) {
    for (const DType dtype : {DType::kBF16, DType::kF32}) {
      Runner runner(scenario, dtype, out_path.empty() ? nullptr : &out);
      for (const int threads : {1, 2}) runner.Run(threads, scenario.adapter);
    }
  }
  return 0;
}
