#include "server/access/method_access.h"

#include <array>

namespace shira {
namespace {

constexpr RoleSet kNobodyInParticular;
constexpr RoleSet kAnyRole = {Role::kInference, Role::kReadOnly, Role::kAdmin};
constexpr RoleSet kInference = {Role::kInference, Role::kAdmin};
constexpr RoleSet kReadOnly = {Role::kReadOnly, Role::kAdmin};
constexpr RoleSet kAdmin = {Role::kAdmin};

constexpr auto kTable = std::to_array<MethodAccess>({
    {"/shira.v1.Inference/Generate", kInference},
    {"/shira.v1.Inference/StreamGenerate", kInference},
    {"/shira.v1.Inference/Tokenize", kInference},
    {"/shira.v1.Inference/Detokenize", kInference},
    {"/shira.v1.Inference/GetModel", kAnyRole},

    {"/shira.v1.AdapterAdmin/LoadAdapter", kAdmin},
    {"/shira.v1.AdapterAdmin/UploadAdapter", kAdmin},
    {"/shira.v1.AdapterAdmin/CreateBlend", kAdmin},
    {"/shira.v1.AdapterAdmin/UnloadAdapter", kAdmin},
    {"/shira.v1.AdapterAdmin/PinAdapter", kAdmin},
    {"/shira.v1.AdapterAdmin/UnpinAdapter", kAdmin},
    {"/shira.v1.AdapterAdmin/SetAlias", kAdmin},
    {"/shira.v1.AdapterAdmin/RollbackAlias", kAdmin},
    {"/shira.v1.AdapterAdmin/DeleteAlias", kAdmin},
    {"/shira.v1.AdapterAdmin/ListAliases", kReadOnly},
    {"/shira.v1.AdapterAdmin/ListAdapters", kReadOnly},
    {"/shira.v1.AdapterAdmin/GetAdapter", kReadOnly},
    {"/shira.v1.AdapterAdmin/ApplyAdapter", kAdmin},
    {"/shira.v1.AdapterAdmin/RevertAdapter", kAdmin},
    {"/shira.v1.AdapterAdmin/GetResidentState", kReadOnly},
    // Holds up every generation while it hashes.
    {"/shira.v1.AdapterAdmin/VerifyWeights", kAdmin},

    {"/shira.v1.Operations/GetServerStatus", kReadOnly},

    // Probes of orchestrators and load balancers have no credentials, and learn one bit.
    {"/grpc.health.v1.Health/Check", kNobodyInParticular},
    {"/grpc.health.v1.Health/Watch", kNobodyInParticular},
    {"/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", kAnyRole},

    // Over HTTP, as the methods above.
    {"/v1/chat/completions", kInference},
    {"/v1/completions", kInference},
    {"/tokenize", kInference},
    {"/detokenize", kInference},
    {"/v1/models", kAnyRole},  // of the base; of adapters who may look at them
    {"/version", kAnyRole},
    {"/v1/load_lora_adapter", kAdmin},
    {"/v1/unload_lora_adapter", kAdmin},
    {"/health", kNobodyInParticular},
});

}  // namespace

absl::Span<const MethodAccess> MethodAccessTable() { return kTable; }

std::optional<RoleSet> RolesFor(std::string_view method) {
  for (const MethodAccess& entry : kTable) {
    if (entry.method == method) return entry.roles;
  }
  return std::nullopt;
}

}  // namespace shira
