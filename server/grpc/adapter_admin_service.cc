#include "server/grpc/adapter_admin_service.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/out_of_memory.h"
#include "base/status_macros.h"
#include "base/steady_clock.h"
#include "base/strings.h"
#include "server/generation/adapter_requests.h"
#include "server/generation/error_details.h"
#include "server/generation/log_text.h"
#include "server/generation/start_generation.h"
#include "server/grpc/adapter_page.h"
#include "server/grpc/blend_request.h"
#include "server/grpc/call_deadline.h"
#include "server/grpc/call_work.h"
#include "server/grpc/proto_conversion.h"
#include "server/grpc/request_conversion.h"
#include "server/grpc/resident_states.h"

namespace shira {
namespace {

constexpr size_t kMaxLoggedFailureBytes = 1000;  // in the log

double Milliseconds(absl::Duration duration) { return absl::ToDoubleMilliseconds(duration); }

}  // namespace

grpc::ServerUnaryReactor* AdapterAdminService::FinishHere(grpc::CallbackServerContext& context,
                                                          const Work& work) const {
  const absl::StatusOr<const Backend*> backend = gate_.Enter();
  return FinishWith(
      context, backend.ok() ? CatchOutOfMemory([&] { return work(**backend); }) : backend.status());
}

grpc::ServerUnaryReactor* AdapterAdminService::FinishOnDisk(grpc::CallbackServerContext& context,
                                                            Work work) {
  return FinishOnLane(context_.disk_work, context, std::move(work));
}

grpc::ServerUnaryReactor* AdapterAdminService::FinishOnControl(grpc::CallbackServerContext& context,
                                                               Work work) {
  return FinishOnLane(context_.control_work, context, std::move(work));
}

grpc::ServerUnaryReactor* AdapterAdminService::FinishOnLane(WorkQueue& lane,
                                                            grpc::CallbackServerContext& context,
                                                            Work work) {
  const absl::StatusOr<const Backend*> backend = gate_.Enter();
  if (!backend.ok()) return FinishWith(context, backend.status());
  return FinishOn(lane, context_.records, context,
                  [backend = *backend, work = std::move(work)] { return work(*backend); });
}

grpc::ServerUnaryReactor* AdapterAdminService::LoadAdapter(grpc::CallbackServerContext* context,
                                                           const v1::LoadAdapterRequest* request,
                                                           v1::LoadAdapterResponse* response) {
  return FinishOnDisk(*context, [request, response](const Backend& backend) {
    return Load(backend, *request, *response);
  });
}

absl::Status AdapterAdminService::Load(const Backend& backend,
                                       const v1::LoadAdapterRequest& request,
                                       v1::LoadAdapterResponse& response) {
  SHIRA_ASSIGN_OR_RETURN(
      const AdapterLoadResult loaded,
      shira::LoadAdapter(backend.lifecycle, request.name(), request.path(),
                         request.expected_sha256(), {.replace = request.replace()}));
  *response.mutable_adapter() = ToProto(loaded.info, backend.model.parameter_count);
  response.set_already_loaded(loaded.already_loaded);
  return absl::OkStatus();
}

grpc::ServerReadReactor<v1::UploadAdapterRequest>* AdapterAdminService::UploadAdapter(
    grpc::CallbackServerContext* context, v1::UploadAdapterResponse* response) {
  const absl::StatusOr<const Backend*> backend = gate_.Enter();
  return ReceiveUpload(
      backend.ok() ? absl::StatusOr<AdapterLifecycle*>(&(*backend)->lifecycle) : backend.status(),
      context_.disk_work, context_.records, *context, upload_idle_timeout_,
      [backend, response](const absl::StatusOr<AdapterLifecycle::LoadResult>& loaded) {
        if (!loaded.ok()) {
          spdlog::warn("upload: refused: {}",
                       ForLog(loaded.status().ToString(absl::StatusToStringMode::kWithNoExtraData),
                              kMaxLoggedFailureBytes));
          return loaded.status();
        }
        LogLoaded(*loaded);
        *response->mutable_adapter() = ToProto(loaded->info, (*backend)->model.parameter_count);
        response->set_already_loaded(loaded->already_loaded);
        return absl::OkStatus();
      });
}

grpc::ServerUnaryReactor* AdapterAdminService::CreateBlend(grpc::CallbackServerContext* context,
                                                           const v1::CreateBlendRequest* request,
                                                           v1::CreateBlendResponse* response) {
  return FinishOnDisk(*context, [request, response](const Backend& backend) {
    return Blend(backend, *request, *response);
  });
}

absl::Status AdapterAdminService::Blend(const Backend& backend,
                                        const v1::CreateBlendRequest& request,
                                        v1::CreateBlendResponse& response) {
  SHIRA_ASSIGN_OR_RETURN(const BlendOptions blend, ParseBlendRequest(request, backend.limits));
  absl::StatusOr<AdapterLifecycle::BlendResult> created =
      backend.lifecycle.CreateBlend(request.name(), blend.parts, blend.fusion, request.save_path());
  if (!created.ok()) {
    spdlog::warn("adapter {}: not blended: {}", ForLog(request.name()),
                 ForLog(created.status().ToString(absl::StatusToStringMode::kWithNoExtraData),
                        kMaxLoggedFailureBytes));
    ErrorMetadata metadata = {{"name", request.name()}};
    // A part that is missing is what is at fault then, and not the blend.
    if (absl::IsNotFound(created.status())) {
      for (const auto& [key, part] : AdapterAtFault(backend.lifecycle, blend.parts))
        metadata["part"] = part;
    }
    return WithReason(created.status(), Operation::kCreateBlend, std::move(metadata));
  }
  const AdapterInfo& info = created->info;
  spdlog::info("adapter {}@{}: blended by rule {} from {} adapters in {:.1f} ms, {} entries{}",
               info.name, info.version, InfoOf(blend.fusion.rule).name, blend.parts.size(),
               Milliseconds(info.load_duration), info.adapter->entries,
               created->already_created ? " (was there already)" : "");
  *response.mutable_adapter() = ToProto(info, backend.model.parameter_count);
  response.set_already_created(created->already_created);
  *response.mutable_total() = ToProto(created->report.total);
  for (const FusionReport::Parameter& parameter : created->report.parameters) {
    v1::CreateBlendResponse::Parameter& proto = *response.add_parameters();
    proto.set_name(parameter.name);
    *proto.mutable_overlap() = ToProto(parameter.overlap);
  }
  return absl::OkStatus();
}

grpc::ServerUnaryReactor* AdapterAdminService::UnloadAdapter(
    grpc::CallbackServerContext* context, const v1::UnloadAdapterRequest* request,
    v1::UnloadAdapterResponse* /*response*/) {
  const SteadyTime deadline = DeadlineOf(*context);
  return FinishOnControl(*context, [context, request, deadline](const Backend& backend) {
    return Unload(backend, *request, deadline, [context] { return context->IsCancelled(); });
  });
}

absl::Status AdapterAdminService::Unload(const Backend& backend,
                                         const v1::UnloadAdapterRequest& request,
                                         SteadyTime deadline, std::function<bool()> is_cancelled) {
  SteadyTime wait_until = deadline;
  if (request.has_timeout()) {
    const absl::Duration timeout = FromProto(request.timeout());
    if (timeout < absl::ZeroDuration()) {
      FieldProblems problems;
      problems.Add("timeout", "is negative");
      return problems.ToStatus();
    }
    wait_until = std::min(wait_until, SteadyNow() + timeout);
  }
  return shira::UnloadAdapter(backend.lifecycle, request.name(),
                              {.deadline = wait_until,
                               .cancel_running = request.cancel_running(),
                               .is_cancelled = std::move(is_cancelled)});
}

grpc::ServerUnaryReactor* AdapterAdminService::ListAdapters(grpc::CallbackServerContext* context,
                                                            const v1::ListAdaptersRequest* request,
                                                            v1::ListAdaptersResponse* response) {
  return FinishHere(*context, [&](const Backend& backend) -> absl::Status {
    SHIRA_ASSIGN_OR_RETURN(const AdapterPage page, PageOf(backend.lifecycle.List(), *request));
    for (const AdapterInfo& info : page.adapters) {
      *response->add_adapters() = ToProto(info, backend.model.parameter_count);
    }
    response->set_next_page_token(page.next_page_token);
    return absl::OkStatus();
  });
}

grpc::ServerUnaryReactor* AdapterAdminService::GetAdapter(grpc::CallbackServerContext* context,
                                                          const v1::GetAdapterRequest* request,
                                                          v1::GetAdapterResponse* response) {
  return FinishOnDisk(*context, [request, response](const Backend& backend) {
    return Get(backend, *request, *response);
  });
}

absl::Status AdapterAdminService::Get(const Backend& backend, const v1::GetAdapterRequest& request,
                                      v1::GetAdapterResponse& response) {
  const std::optional<AdapterInfo> info = backend.lifecycle.Get(request.name());
  if (!info.has_value()) {
    return WithReason(absl::NotFoundError(StrCat("no adapter is called '", request.name(), "'")),
                      Operation::kUseAdapter, {{"name", request.name()}});
  }
  *response.mutable_adapter() = ToProto(*info, backend.model.parameter_count);
  if (info->state != AdapterState::kReady) return absl::OkStatus();
  absl::StatusOr<std::shared_ptr<const SparseAdapter>> adapter =
      backend.lifecycle.Deltas(request.name());
  if (!adapter.ok()) {
    return WithReason(adapter.status(), Operation::kUseAdapter, {{"name", request.name()}});
  }
  for (const ParameterDelta& delta : (*adapter)->deltas) {
    *response.add_parameters() = ToProto(delta, (*adapter)->scale);
  }
  return absl::OkStatus();
}

grpc::ServerUnaryReactor* AdapterAdminService::ApplyAdapter(grpc::CallbackServerContext* context,
                                                            const v1::ApplyAdapterRequest* request,
                                                            v1::ApplyAdapterResponse* response) {
  const SteadyTime deadline = DeadlineOf(*context);
  return FinishOnDisk(*context, [request, deadline, response](const Backend& backend) {
    return Apply(backend, *request, deadline, *response);
  });
}

absl::Status AdapterAdminService::Apply(const Backend& backend,
                                        const v1::ApplyAdapterRequest& request, SteadyTime deadline,
                                        v1::ApplyAdapterResponse& response) {
  FieldProblems problems;
  std::vector<AdapterSelectionTerm> terms = FromProto(request.adapters());
  CheckSelection(backend.limits, "adapters", terms, problems);
  SHIRA_RETURN_IF_ERROR(problems.ToStatus());
  SHIRA_ASSIGN_OR_RETURN(const DefaultChangeResult applied, MakeDefault(backend, terms, deadline));
  *response.mutable_state() = ToProto(applied.key, applied.adapters);
  *response.mutable_switch_duration() = ToProto(applied.stats.duration);
  response.set_written(applied.stats.written);
  return absl::OkStatus();
}

grpc::ServerUnaryReactor* AdapterAdminService::RevertAdapter(
    grpc::CallbackServerContext* context, const v1::RevertAdapterRequest* /*request*/,
    v1::RevertAdapterResponse* response) {
  const SteadyTime deadline = DeadlineOf(*context);
  return FinishOnControl(*context, [deadline, response](const Backend& backend) {
    return Revert(backend, deadline, *response);
  });
}

absl::Status AdapterAdminService::Revert(const Backend& backend, SteadyTime deadline,
                                         v1::RevertAdapterResponse& response) {
  SHIRA_ASSIGN_OR_RETURN(const DefaultChangeResult applied, MakeDefault(backend, {}, deadline));
  *response.mutable_switch_duration() = ToProto(applied.stats.duration);
  response.set_written(applied.stats.written);
  return absl::OkStatus();
}

absl::StatusOr<DefaultChangeResult> AdapterAdminService::MakeDefault(
    const Backend& backend, absl::Span<const AdapterSelectionTerm> terms, SteadyTime deadline) {
  DefaultChangeResult change = backend.lifecycle.MakeDefault(terms, deadline);
  switch (change.step) {
    case DefaultChangeStep::kAcquire:
      return WithReason(change.status, Operation::kUseAdapter,
                        AdapterAtFault(backend.lifecycle, terms));
    case DefaultChangeStep::kTurn:
      return change.status;
    case DefaultChangeStep::kApply:
      return WithReason(change.status, Operation::kControlEngine);
    case DefaultChangeStep::kSet:
      return WithReason(change.status, Operation::kUseAdapter);
    case DefaultChangeStep::kDone:
      break;
  }
  spdlog::info("default state {}: {} adapters, {} elements written in {:.2f} ms",
               change.key.digest().Hex().substr(0, 12), change.adapters.size(),
               change.stats.written, Milliseconds(change.stats.duration));
  return change;
}

grpc::ServerUnaryReactor* AdapterAdminService::GetResidentState(
    grpc::CallbackServerContext* context, const v1::GetResidentStateRequest* /*request*/,
    v1::GetResidentStateResponse* response) {
  return FinishHere(*context, [&](const Backend& backend) -> absl::Status {
    SHIRA_ASSIGN_OR_RETURN(ResidentStates states, ResidentStatesOf(backend));
    *response->mutable_resident() = std::move(states.resident);
    *response->mutable_default_state() = std::move(states.default_state);
    response->set_switches(backend.engine.stats().switches);
    const WeightIntegrity integrity = backend.weight_guard.integrity();
    response->mutable_damaged_parameters()->Assign(integrity.damaged.begin(),
                                                   integrity.damaged.end());
    if (integrity.last_verified != absl::InfinitePast()) {
      *response->mutable_last_verified() = ToProto(integrity.last_verified);
    }
    return absl::OkStatus();
  });
}

grpc::ServerUnaryReactor* AdapterAdminService::VerifyWeights(
    grpc::CallbackServerContext* context, const v1::VerifyWeightsRequest* /*request*/,
    v1::VerifyWeightsResponse* response) {
  const SteadyTime deadline = DeadlineOf(*context);
  return FinishOnControl(*context, [deadline, response](const Backend& backend) {
    return Verify(backend, deadline, *response);
  });
}

absl::Status AdapterAdminService::Verify(const Backend& backend, SteadyTime deadline,
                                         v1::VerifyWeightsResponse& response) {
  absl::StatusOr<VerifyReport> report = backend.engine.Verify(deadline);
  if (!report.ok()) return WithReason(report.status(), Operation::kControlEngine);
  backend.weight_guard.Report(*report);
  *response.mutable_state() = ToProto(report->state, backend.lifecycle.Describe(report->state));
  for (const ParameterHashes& hashes : report->parameters) {
    *response.add_parameters() = ToProto(hashes);
  }
  response.set_matches_base(report->matches_base);
  response.set_matches_expected(report->matches_expected);
  return absl::OkStatus();
}

}  // namespace shira
