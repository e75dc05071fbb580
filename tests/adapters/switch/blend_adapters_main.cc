// Blends adapters and writes the result, for comparison with PEFT.
//
//   blend_adapters BASE.safetensors RULE DENSITY SEED OUT.safetensors ADAPTER_FOLDER=WEIGHT...
//
// The base file gives the shapes. The result has PARAMETER.positions (flat, I64) and
// PARAMETER.values (F32). Prints "DIGEST ADAPTER_FOLDER" for each operand, then the blend's digest,
// then "PARAMETER UNION SHARED CONFLICTS RESULT ENERGY_KEPT" for each parameter and "total".

#include <algorithm>
#include <fstream>
#include <iomanip>
#include <iostream>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "adapters/format/adapter_reader.h"
#include "adapters/switch/fusion_blend.h"
#include "base/mapped_file.h"
#include "base/safetensors.h"
#include "base/status_macros.h"

namespace shira {
namespace {

void Print(const std::string& name, const FusionOverlap& overlap) {
  std::cout << name << ' ' << overlap.union_entries << ' ' << overlap.shared_entries << ' '
            << overlap.sign_conflicts << ' ' << overlap.result_entries << ' '
            << std::setprecision(17) << overlap.energy_kept() << '\n';
}

template <typename T>
absl::Span<const std::byte> Bytes(const std::vector<T>& values) {
  return {reinterpret_cast<const std::byte*>(values.data()), values.size() * sizeof(T)};
}

absl::Status Run(int argc, char** argv) {
  SHIRA_ASSIGN_OR_RETURN(const MappedFile file, MappedFile::Open(argv[1]));
  SHIRA_ASSIGN_OR_RETURN(const Safetensors tensors, Safetensors::Parse(file.bytes(), argv[1]));
  BaseModelIdentity identity;
  for (const auto& [name, tensor] : tensors.tensors()) {
    if (tensor.shape.size() == 2) identity.parameters[name] = {tensor.shape[0], tensor.shape[1]};
  }
  FusionOptions options;
  const auto rules = FusionRules();
  const auto rule = std::find_if(rules.begin(), rules.end(),
                                 [&](const FusionRuleInfo& info) { return info.name == argv[2]; });
  if (rule == rules.end() || !absl::SimpleAtod(argv[3], &options.density) ||
      !absl::SimpleAtoi(argv[4], &options.seed)) {
    return absl::InvalidArgumentError("bad rule, density or seed");
  }
  options.rule = rule->rule;
  const AdapterReader reader(identity, {});
  std::vector<FusionOperand> operands;
  for (int i = 6; i < argc; ++i) {
    const std::vector<std::string> parts = absl::StrSplit(argv[i], '=');
    FusionOperand& operand = operands.emplace_back();
    operand.name = parts[0];
    SHIRA_ASSIGN_OR_RETURN(operand.adapter, reader.Read(parts[0]));
    if (!absl::SimpleAtod(parts[1], &operand.weight)) return absl::InvalidArgumentError(argv[i]);
    std::cout << operand.adapter->digest.Hex() << ' ' << parts[0] << '\n';
  }
  IndexTablePool pool;
  SHIRA_ASSIGN_OR_RETURN(const FusionResult result, Blend(options, operands, pool));
  std::cout << result.adapter->digest.Hex() << '\n';
  for (const auto& parameter : result.report.parameters) Print(parameter.name, parameter.overlap);
  Print("total", result.report.total);

  std::map<std::string, std::vector<int64_t>> positions;
  std::map<std::string, TensorView> out;
  for (const ParameterDelta& delta : result.adapter->deltas) {
    std::vector<int64_t>& flat = positions[delta.parameter];
    delta.table->ForEach([&](int64_t, int64_t position) { flat.push_back(position); });
    out[delta.parameter + ".positions"] = {DType::kI64, {delta.table->entries()}, Bytes(flat)};
    out[delta.parameter + ".values"] = {DType::kF32, {delta.table->entries()}, Bytes(delta.values)};
  }
  SHIRA_ASSIGN_OR_RETURN(const std::string bytes, SerializeSafetensors(out, {}));
  std::ofstream(argv[5], std::ios::binary) << bytes;
  return absl::OkStatus();
}

}  // namespace
}  // namespace shira

int main(int argc, char** argv) {
  if (argc < 7) {
    std::cerr << "usage: blend_adapters BASE.safetensors RULE DENSITY SEED OUT.safetensors "
                 "ADAPTER_FOLDER=WEIGHT...\n";
    return 2;
  }
  const absl::Status status = shira::Run(argc, argv);
  if (status.ok()) return 0;
  std::cerr << status << '\n';
  return 1;
}
