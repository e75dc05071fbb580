// How much memory many adapters of one base take, and what it costs to use one that
// is not in memory.
//
//   many_adapters_bench [--adapters N] [--out FILE]
//
// The adapters have the demo's size: every linear layer of SmolLM2-135M at r = 2, 610,560 entries,
// PEFT files of 7.3 MB, PEFT's default masks (one index table per shape). The weights are random
// numbers in bf16. The budget is 6 bytes per entry for the first adapter, 2 for each further one,
// and one compilation. Files are deleted once they have been loaded, but for the last two, so no
// disk is filled. One JSON object goes to --out, and to standard output.

#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <map>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "base/status_macros.h"
#include "bench/demo_shapes.h"
#include "bench/timing.h"
#include "nlohmann/json.hpp"
#include "server/lifecycle/adapter_lifecycle.h"
#include "tests/testutil/adapter_builder.h"
#include "tests/testutil/plain_weights.h"
#include "tests/testutil/temp_folder.h"

namespace shira::bench {
namespace {

using testing::AdapterFolder;
using testing::PlainWeights;

// Writes adapters with equal masks and different values.
class AdapterWriter {
 public:
  explicit AdapterWriter(std::vector<LayerShape> layers) : layers_(std::move(layers)) {
    std::mt19937 random(1);
    for (const LayerShape& layer : layers_) {
      auto& mask = masks_[{layer.rows, layer.cols}];
      if (!mask.empty()) continue;
      const int64_t count = 2 * (layer.rows + layer.cols);
      for (const int64_t position :
           testing::RandomPositions(layer.rows, layer.cols, count, random)) {
        mask.push_back({position / layer.cols, position % layer.cols});
      }
    }
  }

  int64_t entries() const {
    int64_t entries = 0;
    for (const LayerShape& layer : layers_) entries += 2 * (layer.rows + layer.cols);
    return entries;
  }

  void Write(const std::filesystem::path& folder, uint32_t seed) const {
    std::mt19937 random(seed);
    std::uniform_real_distribution<float> uniform(-0.01f, 0.01f);
    AdapterFolder files;
    for (const LayerShape& layer : layers_) {
      const auto& mask = masks_.at({layer.rows, layer.cols});
      std::vector<float> values(mask.size());
      for (float& value : values) value = uniform(random);
      files.AddLayer(layer.path, mask, values);
    }
    files.Write(folder);
  }

 private:
  std::vector<LayerShape> layers_;
  std::map<std::pair<int64_t, int64_t>, std::vector<std::pair<int32_t, int32_t>>> masks_;
};

int64_t ResidentBytes() {
  std::ifstream statm("/proc/self/statm");
  int64_t total = 0;
  int64_t resident = 0;
  statm >> total >> resident;
  return resident * sysconf(_SC_PAGESIZE);
}

absl::StatusOr<double> MillisecondsToAcquire(AdapterLifecycle& lifecycle, const std::string& name,
                                             double weight) {
  const absl::Time start = absl::Now();
  SHIRA_RETURN_IF_ERROR(lifecycle.Acquire({AdapterSelectionTerm{name, weight}}).status());
  return absl::ToDoubleMilliseconds(absl::Now() - start);
}

absl::StatusOr<nlohmann::json> Run(int64_t adapters) {
  const AdapterWriter writer(DemoShapes());
  std::vector<PlainWeights::Shape> shapes;
  for (const LayerShape& layer : DemoShapes()) {
    shapes.push_back({layer.parameter(), layer.rows, layer.cols});
  }
  PlainWeights weights(DType::kBF16, std::move(shapes), 1);
  SwitchEngine engine(weights.memory(), {});
  const AdapterReader reader(weights.identity(), {});
  const testing::TempFolder root;
  const int64_t entries = writer.entries();
  const int64_t budget = (6 + 2 * (adapters - 1) + 6) * entries;
  SHIRA_ASSIGN_OR_RETURN(
      const auto lifecycle,
      AdapterLifecycle::Create(
          {.roots = {root.path()}, .max_adapters = adapters, .memory_budget_bytes = budget}, reader,
          engine));

  nlohmann::json row = {{"machine", MachineDescription()},
                        {"adapters", adapters},
                        {"entries", entries},
                        {"dtype", "BF16"},
                        {"budget_bytes", budget}};
  const int64_t resident_before = ResidentBytes();
  std::vector<double> load_ms;
  int64_t first_bytes = 0;
  const auto name_of = [](int64_t i) { return absl::StrFormat("adapter%d", i); };
  for (int64_t i = 0; i < adapters; ++i) {
    if (i > 1) std::filesystem::remove_all(root.Path(name_of(i - 2)));
    const std::string name = name_of(i);
    writer.Write(root.Path(name), static_cast<uint32_t>(i));
    const absl::Time start = absl::Now();
    SHIRA_RETURN_IF_ERROR(lifecycle->Load(name, name, "").status());
    load_ms.push_back(absl::ToDoubleMilliseconds(absl::Now() - start));
    if (i == 0) first_bytes = lifecycle->memory_in_use_bytes() - 4 * entries;  // without its deltas
  }
  std::sort(load_ms.begin(), load_ms.end());
  int64_t compiled = 0;
  for (const AdapterInfo& info : lifecycle->List()) {
    compiled += info.residency == AdapterResidency::kInMemory;
  }
  row["compiled_states_in_memory"] = compiled;
  row["counted_bytes"] = lifecycle->memory_in_use_bytes();
  row["counted_bytes_of_first"] = first_bytes;
  row["resident_set_growth_bytes"] = ResidentBytes() - resident_before;
  row["load_median_ms"] = load_ms[load_ms.size() / 2];
  SHIRA_ASSIGN_OR_RETURN(row["acquire_compiled_ms"],
                         MillisecondsToAcquire(*lifecycle, name_of(adapters - 2), 1.0));
  // Loading the last one pushed out all other deltas.
  SHIRA_ASSIGN_OR_RETURN(row["acquire_with_deltas_in_memory_ms"],
                         MillisecondsToAcquire(*lifecycle, name_of(adapters - 1), 0.5));
  SHIRA_ASSIGN_OR_RETURN(row["acquire_with_deltas_on_disk_ms"],
                         MillisecondsToAcquire(*lifecycle, name_of(adapters - 2), 0.5));
  return row;
}

}  // namespace
}  // namespace shira::bench

int main(int argc, char** argv) {
  CLI::App app("Memory of many adapters");
  int64_t adapters = 1000;
  std::string out;
  app.add_option("--adapters", adapters, "How many")->check(CLI::Range(2, 10000));
  app.add_option("--out", out, "File for the JSON row");
  CLI11_PARSE(app, argc, argv);
  const absl::StatusOr<nlohmann::json> row = shira::bench::Run(adapters);
  if (!row.ok()) {
    std::cerr << row.status() << '\n';
    return 1;
  }
  std::cout << row->dump(2) << '\n';
  if (!out.empty()) std::ofstream(out) << row->dump() << '\n';
  return 0;
}
