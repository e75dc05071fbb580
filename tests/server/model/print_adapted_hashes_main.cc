// print_adapted_hashes MODEL DTYPE ADAPTER: loads a model as the server does, and prints "SHA-256 NAME"
// of every parameter's bytes with the adapter switched in; fails if the base does not come back after it.

#include <cstdlib>
#include <iostream>
#include <optional>
#include <string>
#include <utility>

#include "adapters/format/adapter_reader.h"
#include "adapters/switch/switch_engine.h"
#include "base/status_macros.h"
#include "server/model/cpu_executor.h"
#include "server/model/resident_weights.h"
#include "server/model/weight_loader.h"

namespace {

absl::Status Run(const std::string& path, shira::DType dtype, const std::string& adapter_path) {
  SHIRA_ASSIGN_OR_RETURN(const auto source, shira::WeightSource::Open(path));
  SHIRA_ASSIGN_OR_RETURN(const auto weights,
                         shira::ResidentWeights::Load(*source, dtype, shira::SerialFor, {}));
  SHIRA_ASSIGN_OR_RETURN(const auto executor,
                         shira::CreateCpuExecutor(*weights, {.kv_budget_bytes = 1 << 24}));
  shira::SwitchEngine engine(executor->weights(), {});
  shira::BaseModelIdentity identity;
  for (const shira::ParameterShape& parameter : engine.parameters().parameters()) {
    identity.parameters[parameter.name] = {parameter.rows, parameter.cols};
  }
  shira::OtherNames others = shira::OtherNamesOf(source->config().Tensors());
  identity.tied = std::move(others.tied);
  identity.renamed = std::move(others.renamed);
  identity.fused = std::move(others.fused);
  SHIRA_ASSIGN_OR_RETURN(const auto adapter,
                         shira::AdapterReader(std::move(identity), {}).Read(adapter_path));
  SHIRA_ASSIGN_OR_RETURN(const auto state, engine.Compile({{adapter, 1.0}}));
  engine.Apply(state);
  for (const shira::ParameterHashes& hashes : engine.Verify().parameters) {
    std::cout << hashes.resident.Hex() << " " << hashes.name << "\n";
  }
  engine.Apply(engine.base());
  return engine.Verify().matches_base ? absl::OkStatus()
                                      : absl::DataLossError("the base did not come back");
}

}  // namespace

int main(int argc, char** argv) {
  const std::optional<shira::DType> dtype = argc == 4 ? shira::ParseDType(argv[2]) : std::nullopt;
  if (!dtype) return 2;
  const absl::Status status = Run(argv[1], *dtype, argv[3]);
  if (status.ok()) return EXIT_SUCCESS;
  std::cerr << status << "\n";
  return EXIT_FAILURE;
}
