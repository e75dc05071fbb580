#include "server/grpc/operations_service.h"

#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "base/out_of_memory.h"
#include "base/status_macros.h"
#include "server/grpc/call_work.h"
#include "server/grpc/proto_conversion.h"
#include "server/grpc/resident_states.h"

namespace shira {
namespace {

v1::ServerState ToProto(BackendGate::State state) {
  switch (state) {
    case BackendGate::State::kLoading:
      return v1::SERVER_STATE_LOADING;
    case BackendGate::State::kOpen:
      return v1::SERVER_STATE_SERVING;
    case BackendGate::State::kClosed:
      break;
  }
  return v1::SERVER_STATE_DRAINING;
}

void SetEngine(const EngineStats& stats, v1::GetServerStatusResponse& response) {
  v1::GetServerStatusResponse::Generations& generations = *response.mutable_generations();
  generations.set_queued(stats.queued);
  generations.set_running(stats.running);
  generations.set_finished(stats.finished);
  generations.set_failed(stats.failed);
  generations.set_prompt_tokens(stats.prompt_tokens);
  generations.set_generated_tokens(stats.generated_tokens);
  generations.set_drafted_tokens(stats.drafted_tokens);
  generations.set_accepted_tokens(stats.accepted_tokens);
  response.set_switches(stats.switches);
  *response.mutable_switch_time() = shira::ToProto(stats.switch_time);
  response.mutable_memory()->set_kv_bytes(stats.kv_used_bytes);
  response.mutable_memory()->set_kv_budget_bytes(stats.kv_budget_bytes);
}

void SetAdapters(const std::vector<AdapterInfo>& infos,
                 v1::GetServerStatusResponse::Adapters& adapters) {
  int64_t loading = 0, ready = 0, unloading = 0, failed = 0, in_memory = 0;
  for (const AdapterInfo& info : infos) {
    switch (info.state) {
      case AdapterState::kLoading:
        ++loading;
        break;
      case AdapterState::kReady:
        ++ready;
        in_memory += info.residency != AdapterResidency::kOnDisk ? 1 : 0;
        break;
      case AdapterState::kUnloading:
        ++unloading;
        break;
      case AdapterState::kFailed:
        ++failed;
        break;
    }
  }
  adapters.set_loading(loading);
  adapters.set_ready(ready);
  adapters.set_unloading(unloading);
  adapters.set_failed(failed);
  adapters.set_in_memory(in_memory);
}

}  // namespace

grpc::ServerUnaryReactor* OperationsService::GetServerStatus(
    grpc::CallbackServerContext* context, const v1::GetServerStatusRequest* /*request*/,
    v1::GetServerStatusResponse* response) {
  return FinishWith(*context, CatchOutOfMemory([&] { return Status(*response); }));
}

absl::Status OperationsService::Status(v1::GetServerStatusResponse& response) const {
  response.set_server_version(server_version_);
  response.set_state(ToProto(context_.gate.state()));
  *response.mutable_start_time() = shira::ToProto(start_time_);
  *response.mutable_time() = shira::ToProto(absl::Now());
  const Backend* backend = context_.gate.Peek();
  if (backend == nullptr) return absl::OkStatus();

  response.set_model(backend->model.name);
  SetEngine(backend->engine.stats(), response);
  for (const AdapterLoad& load : context_.ledger.Loads()) {
    v1::GetServerStatusResponse::AdapterLoad& proto = *response.add_adapter_loads();
    proto.set_adapter(load.adapter);
    proto.set_waiting(load.waiting);
    proto.set_running(load.running);
  }
  v1::GetServerStatusResponse::Memory& memory = *response.mutable_memory();
  memory.set_process_bytes(ProcessMemoryBytes());
  memory.set_weight_bytes(backend->model.weight_bytes);
  memory.set_adapter_bytes(backend->lifecycle.memory_in_use_bytes());
  memory.set_adapter_budget_bytes(backend->adapter_memory_budget_bytes);
  SetAdapters(backend->lifecycle.List(), *response.mutable_adapters());

  SHIRA_ASSIGN_OR_RETURN(ResidentStates states, ResidentStatesOf(*backend));
  *response.mutable_resident() = std::move(states.resident);
  *response.mutable_default_state() = std::move(states.default_state);
  const WeightIntegrity integrity = backend->weight_guard.integrity();
  response.mutable_damaged_parameters()->Assign(integrity.damaged.begin(), integrity.damaged.end());
  if (integrity.last_verified != absl::InfinitePast()) {
    *response.mutable_last_verified() = shira::ToProto(integrity.last_verified);
  }
  return absl::OkStatus();
}

}  // namespace shira
