// Loads an adapter as the server does, says how long it takes, and packs it, for tests in Python.
//
//   load_adapter SHAPES.json ADAPTER [OUT.shira exact|bf16]
//
// SHAPES.json has {"parameter": [rows, columns]} for a model. Prints "KEY VALUE" lines.

#include <cstdio>
#include <fstream>
#include <iostream>
#include <string>

#include "absl/time/clock.h"
#include "adapters/format/adapter_reader.h"
#include "adapters/format/packed_writer.h"
#include "base/mapped_file.h"
#include "base/status_macros.h"
#include "nlohmann/json.hpp"

namespace shira {
namespace {

constexpr int kRepetitions = 7;

absl::StatusOr<BaseModelIdentity> ReadShapes(const std::string& path) {
  SHIRA_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, 1 << 24));
  const nlohmann::json shapes = nlohmann::json::parse(text, nullptr, false);
  if (!shapes.is_object()) return absl::InvalidArgumentError(path);
  BaseModelIdentity identity;
  for (auto it = shapes.begin(); it != shapes.end(); ++it) {
    identity.parameters[it.key()] = {it->at(0).get<int64_t>(), it->at(1).get<int64_t>()};
  }
  return identity;
}

absl::Status Run(int argc, char** argv) {
  SHIRA_ASSIGN_OR_RETURN(const BaseModelIdentity identity, ReadShapes(argv[1]));
  double best = 1e9;
  std::shared_ptr<const SparseAdapter> adapter;
  for (int i = 0; i < kRepetitions; ++i) {
    adapter = nullptr;
    const AdapterReader reader(identity, {});  // a new one each time: nothing is shared yet
    const absl::Time start = absl::Now();
    SHIRA_ASSIGN_OR_RETURN(adapter, reader.Read(argv[2]));
    best = std::min(best, absl::ToDoubleMilliseconds(absl::Now() - start));
  }
  std::cout << "format " << adapter->format << "\nentries " << adapter->entries()
            << "\nmilliseconds " << best << '\n';
  if (argc < 5) return absl::OkStatus();
  SHIRA_ASSIGN_OR_RETURN(
      const PackedFile packed,
      PackAdapter(*adapter, {.round_to_bf16 = std::string(argv[4]) == "bf16", .tool = "test"}));
  std::ofstream(argv[3], std::ios::binary) << packed.bytes;
  std::cout << "bytes " << packed.bytes.size() << "\ntables " << packed.report.tables
            << "\ntable_bytes " << packed.report.table_bytes << "\nmax_rounding_error "
            << packed.report.max_rounding_error << '\n';
  return absl::OkStatus();
}

}  // namespace
}  // namespace shira

int main(int argc, char** argv) {
  if (argc != 3 && argc != 5) {
    std::cerr << "usage: load_adapter SHAPES.json ADAPTER [OUT.shira exact|bf16]\n";
    return 2;
  }
  const absl::Status status = shira::Run(argc, argv);
  if (status.ok()) return 0;
  std::cerr << status << '\n';
  return 1;
}
