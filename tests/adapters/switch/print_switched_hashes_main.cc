// Walks through states and prints every parameter's SHA-256 in each, for comparison with PEFT.
//
//   print_switched_hashes BASE.safetensors STATE...      STATE: "base", or
//   ADAPTER_FOLDER=WEIGHT[,ADAPTER_FOLDER=WEIGHT...]
//
// Prints "STATE_NUMBER NAME SHA256" lines. Every tensor of the file is a parameter, all of one
// dtype.

#include <cstdio>
#include <iostream>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "adapters/format/adapter_reader.h"
#include "adapters/switch/host_weight_memory.h"
#include "adapters/switch/switch_engine.h"
#include "base/mapped_file.h"
#include "base/safetensors.h"
#include "base/status_macros.h"

namespace shira {
namespace {

absl::Status Run(int argc, char** argv) {
  SHIRA_ASSIGN_OR_RETURN(const MappedFile file, MappedFile::Open(argv[1]));
  SHIRA_ASSIGN_OR_RETURN(const Safetensors tensors, Safetensors::Parse(file.bytes(), argv[1]));
  std::vector<std::vector<std::byte>> memory;
  std::vector<ResidentParameter> parameters;
  BaseModelIdentity identity;
  DType dtype = DType::kF32;
  for (const auto& [name, tensor] : tensors.tensors()) {
    memory.emplace_back(tensor.data.begin(), tensor.data.end());
    const bool vector = tensor.shape.size() == 1;
    const int64_t rows = vector ? 1 : tensor.shape[0];
    const int64_t cols = tensor.shape.back();
    parameters.push_back({name, rows, cols, memory.back().data()});
    identity.parameters[name] = {rows, cols};
    dtype = tensor.dtype;
  }
  SHIRA_ASSIGN_OR_RETURN(const auto weights, HostWeightMemory::Create(dtype, parameters));
  identity.dtype = dtype;
  SwitchEngine engine(*weights, {});
  for (size_t p = 0; p < engine.parameters().parameters().size(); ++p) {
    identity.hashes[engine.parameters().parameters()[p].name] = engine.base_hash(p);
  }
  const AdapterReader reader(identity, {});
  for (int i = 2; i < argc; ++i) {
    std::vector<WeightedAdapterRef> refs;
    if (std::string(argv[i]) != "base") {
      for (const std::string& term : std::vector<std::string>(absl::StrSplit(argv[i], ','))) {
        const std::vector<std::string> parts = absl::StrSplit(term, '=');
        WeightedAdapterRef& ref = refs.emplace_back();
        SHIRA_ASSIGN_OR_RETURN(ref.adapter, reader.Read(parts[0]));
        if (!absl::SimpleAtod(parts[1], &ref.weight)) return absl::InvalidArgumentError(term);
      }
    }
    SHIRA_ASSIGN_OR_RETURN(const auto state, engine.Compile(refs));
    engine.Apply(state);
    for (size_t p = 0; p < engine.parameters().parameters().size(); ++p) {
      std::cout << i - 2 << ' ' << engine.parameters().parameters()[p].name << ' '
                << Sha256::Of(weights->bytes(p)).Hex() << '\n';
    }
  }
  return absl::OkStatus();
}

}  // namespace
}  // namespace shira

int main(int argc, char** argv) {
  if (argc < 3) {
    std::cerr << "usage: print_switched_hashes BASE.safetensors STATE...\n";
    return 2;
  }
  const absl::Status status = shira::Run(argc, argv);
  if (status.ok()) return 0;
  std::cerr << status << '\n';
  return 1;
}
