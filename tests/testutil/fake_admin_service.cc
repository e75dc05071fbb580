#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "tests/testutil/fake_services.h"

namespace shira::testing {
namespace {

class FakeAdminService final : public v1::AdapterAdmin::Service {
 public:
  FakeAdminService(FakeServerState& state, int page_size) : state_(state), page_size_(page_size) {}

  grpc::Status LoadAdapter(grpc::ServerContext*, const v1::LoadAdapterRequest* request,
                           v1::LoadAdapterResponse* response) override {
    if (grpc::Status status = CheckAvailable(state_); !status.ok()) return status;
    absl::MutexLock lock(&state_.mutex);
    state_.last_load = *request;
    if (absl::StrContains(request->path(), "missing")) {
      return ErrorStatus(grpc::StatusCode::INVALID_ARGUMENT,
                         absl::StrCat(request->path(), ": no such folder"), "ADAPTER_UNREADABLE",
                         {{"path", request->path()}});
    }
    response->set_already_loaded(state_.adapters.count(request->name()) > 0);
    v1::Adapter& adapter = state_.adapters[request->name()];
    adapter.set_name(request->name());
    adapter.set_version(1);
    adapter.set_sha256(FakeDigest(request->path()));
    adapter.set_state(v1::ADAPTER_STATE_READY);
    adapter.set_residency(v1::ADAPTER_RESIDENCY_IN_MEMORY);
    adapter.set_path(request->path());
    adapter.set_format("peft_shira");
    adapter.set_entries(610560);
    adapter.set_parameter_count(210);
    adapter.set_density(0.00454);
    adapter.set_memory_bytes(3663360);
    adapter.mutable_load_time()->set_seconds(1700000000);
    adapter.mutable_load_duration()->set_nanos(120000000);
    *response->mutable_adapter() = adapter;
    return grpc::Status::OK;
  }

  grpc::Status UploadAdapter(grpc::ServerContext*,
                             grpc::ServerReader<v1::UploadAdapterRequest>* stream,
                             v1::UploadAdapterResponse* response) override {
    if (grpc::Status status = CheckAvailable(state_); !status.ok()) return status;
    v1::UploadAdapterRequest message;
    stream->Read(&message);
    const v1::UploadAdapterRequest::Header header = message.header();
    if (absl::StrContains(header.name(), "missing")) {
      return ErrorStatus(grpc::StatusCode::RESOURCE_EXHAUSTED, "the quota is used up",
                         "UPLOAD_QUOTA_EXHAUSTED", {{"name", header.name()}}, 1);
    }
    std::string bytes;
    while (stream->Read(&message)) bytes += message.data();
    absl::MutexLock lock(&state_.mutex);
    state_.last_upload = header;
    state_.last_upload_bytes = bytes;
    response->set_already_loaded(state_.adapters.count(header.name()) > 0);
    v1::Adapter& adapter = state_.adapters[header.name()];
    adapter.set_name(header.name());
    adapter.set_version(1);
    adapter.set_state(v1::ADAPTER_STATE_READY);
    adapter.set_entries(610560);
    adapter.set_parameter_count(210);
    *response->mutable_adapter() = adapter;
    return grpc::Status::OK;
  }

  grpc::Status PinAdapter(grpc::ServerContext*, const v1::PinAdapterRequest* request,
                          v1::PinAdapterResponse* response) override {
    return SetPinned(request->name(), true, *response->mutable_adapter());
  }

  grpc::Status UnpinAdapter(grpc::ServerContext*, const v1::UnpinAdapterRequest* request,
                            v1::UnpinAdapterResponse* response) override {
    return SetPinned(request->name(), false, *response->mutable_adapter());
  }

  grpc::Status SetAlias(grpc::ServerContext*, const v1::SetAliasRequest* request,
                        v1::SetAliasResponse* response) override {
    absl::MutexLock lock(&state_.mutex);
    const auto known = state_.adapters.find(request->target());
    if (known == state_.adapters.end()) return NoAdapter(request->target());
    v1::Alias& alias = state_.aliases[request->name()];
    if (!alias.name().empty()) *alias.add_history() = alias.target();
    alias.set_name(request->name());
    alias.mutable_target()->set_name(request->target());
    alias.mutable_target()->set_version(known->second.version());
    *response->mutable_alias() = alias;
    return grpc::Status::OK;
  }

  grpc::Status RollbackAlias(grpc::ServerContext*, const v1::RollbackAliasRequest* request,
                             v1::RollbackAliasResponse* response) override {
    absl::MutexLock lock(&state_.mutex);
    const auto known = state_.aliases.find(request->name());
    if (known == state_.aliases.end()) return NoAlias(request->name());
    v1::Alias& alias = known->second;
    if (alias.history().empty()) return NoAlias(request->name());
    *alias.mutable_target() = alias.history(alias.history_size() - 1);
    alias.mutable_history()->RemoveLast();
    *response->mutable_alias() = alias;
    return grpc::Status::OK;
  }

  grpc::Status DeleteAlias(grpc::ServerContext*, const v1::DeleteAliasRequest* request,
                           v1::DeleteAliasResponse*) override {
    absl::MutexLock lock(&state_.mutex);
    return state_.aliases.erase(request->name()) > 0 ? grpc::Status::OK : NoAlias(request->name());
  }

  // One alias a page.
  grpc::Status ListAliases(grpc::ServerContext*, const v1::ListAliasesRequest* request,
                           v1::ListAliasesResponse* response) override {
    absl::MutexLock lock(&state_.mutex);
    const auto next = state_.aliases.upper_bound(request->page_token());
    if (next == state_.aliases.end()) return grpc::Status::OK;
    *response->add_aliases() = next->second;
    if (std::next(next) != state_.aliases.end()) response->set_next_page_token(next->first);
    return grpc::Status::OK;
  }

  grpc::Status CreateBlend(grpc::ServerContext*, const v1::CreateBlendRequest* request,
                           v1::CreateBlendResponse* response) override {
    absl::MutexLock lock(&state_.mutex);
    state_.last_blend = *request;
    for (const v1::WeightedAdapter& part : request->parts()) {
      if (state_.adapters.count(part.name()) == 0) return NoAdapter(part.name());
    }
    response->set_already_created(state_.adapters.count(request->name()) > 0);
    v1::Adapter& adapter = state_.adapters[request->name()];
    adapter.set_name(request->name());
    adapter.set_version(1);
    adapter.set_sha256(FakeDigest(request->name()));
    adapter.set_state(v1::ADAPTER_STATE_READY);
    adapter.set_format("blend");
    adapter.set_entries(1000);
    adapter.set_parameter_count(1);
    *response->mutable_adapter() = adapter;
    v1::BlendOverlap& total = *response->mutable_total();
    total.set_part_entries(1500);
    total.set_union_entries(1200);
    total.set_shared_entries(300);
    total.set_sign_conflicts(20);
    total.set_blend_entries(1000);
    total.set_energy_kept(0.75);
    v1::CreateBlendResponse::Parameter& parameter = *response->add_parameters();
    parameter.set_name("model.layers.0.self_attn.q_proj.weight");
    *parameter.mutable_overlap() = total;
    return grpc::Status::OK;
  }

  grpc::Status UnloadAdapter(grpc::ServerContext*, const v1::UnloadAdapterRequest* request,
                             v1::UnloadAdapterResponse*) override {
    absl::MutexLock lock(&state_.mutex);
    state_.last_unload = *request;
    return state_.adapters.erase(request->name()) > 0 ? grpc::Status::OK
                                                      : NoAdapter(request->name());
  }

  grpc::Status ListAdapters(grpc::ServerContext*, const v1::ListAdaptersRequest* request,
                            v1::ListAdaptersResponse* response) override {
    if (grpc::Status status = CheckAvailable(state_); !status.ok()) return status;
    absl::MutexLock lock(&state_.mutex);
    state_.last_list = *request;
    auto next = state_.adapters.lower_bound(request->page_token());
    for (; next != state_.adapters.end() && response->adapters_size() < page_size_; ++next)
      *response->add_adapters() = next->second;
    if (next != state_.adapters.end()) response->set_next_page_token(next->first);
    return grpc::Status::OK;
  }

  grpc::Status GetAdapter(grpc::ServerContext*, const v1::GetAdapterRequest* request,
                          v1::GetAdapterResponse* response) override {
    absl::MutexLock lock(&state_.mutex);
    const auto adapter = state_.adapters.find(request->name());
    if (adapter == state_.adapters.end()) return NoAdapter(request->name());
    *response->mutable_adapter() = adapter->second;
    v1::GetAdapterResponse::Parameter& parameter = *response->add_parameters();
    parameter.set_name("model.layers.0.self_attn.q_proj.weight");
    parameter.set_rows(576);
    parameter.set_cols(576);
    parameter.set_entries(2304);
    parameter.set_norm(0.75);
    return grpc::Status::OK;
  }

  grpc::Status ApplyAdapter(grpc::ServerContext*, const v1::ApplyAdapterRequest* request,
                            v1::ApplyAdapterResponse* response) override {
    absl::MutexLock lock(&state_.mutex);
    std::vector<v1::AdapterIdentity> wanted;
    for (const v1::WeightedAdapter& adapter : request->adapters()) {
      const auto known = state_.adapters.find(adapter.name());
      if (known == state_.adapters.end()) return NoAdapter(adapter.name());
      v1::AdapterIdentity& identity = wanted.emplace_back();
      identity.set_name(adapter.name());
      identity.set_version(known->second.version());
      identity.set_sha256(known->second.sha256());
      identity.set_weight(adapter.has_weight() ? adapter.weight() : 1);
    }
    state_.resident = wanted;
    ++state_.switches;
    *response->mutable_state() = Resident();
    response->mutable_switch_duration()->set_nanos(2600000);
    response->set_written(610560);
    return grpc::Status::OK;
  }

  grpc::Status RevertAdapter(grpc::ServerContext*, const v1::RevertAdapterRequest*,
                             v1::RevertAdapterResponse* response) override {
    absl::MutexLock lock(&state_.mutex);
    state_.resident.clear();
    ++state_.switches;
    response->mutable_switch_duration()->set_nanos(1500000);
    response->set_written(610560);
    return grpc::Status::OK;
  }

  grpc::Status GetResidentState(grpc::ServerContext*, const v1::GetResidentStateRequest*,
                                v1::GetResidentStateResponse* response) override {
    absl::MutexLock lock(&state_.mutex);

    *response->mutable_resident() = Resident();
    *response->mutable_default_state() = Resident();
    response->set_switches(state_.switches);
    if (state_.damaged) response->add_damaged_parameters("model.layers.0.self_attn.q_proj.weight");
    return grpc::Status::OK;
  }

  grpc::Status VerifyWeights(grpc::ServerContext*, const v1::VerifyWeightsRequest*,
                             v1::VerifyWeightsResponse* response) override {
    absl::MutexLock lock(&state_.mutex);
    *response->mutable_state() = Resident();
    for (const std::string name :
         {"model.embed_tokens.weight", "model.layers.0.self_attn.q_proj.weight"}) {
      v1::VerifyWeightsResponse::Parameter& parameter = *response->add_parameters();
      parameter.set_name(name);
      parameter.set_base_sha256(FakeDigest(name));
      const bool adapted = !state_.resident.empty() && absl::StrContains(name, "q_proj");
      parameter.set_expected_sha256(FakeDigest(adapted ? "adapted " + name : name));
      parameter.set_sha256(state_.damaged && absl::StrContains(name, "q_proj")
                               ? FakeDigest("damaged")
                               : parameter.expected_sha256());
    }
    response->set_matches_base(state_.resident.empty() && !state_.damaged);
    response->set_matches_expected(!state_.damaged);
    return grpc::Status::OK;
  }

 private:
  static grpc::Status NoAlias(const std::string& name) {
    return ErrorStatus(grpc::StatusCode::NOT_FOUND, absl::StrCat("No alias '", name, "'"),
                       "ALIAS_NOT_FOUND", {{"name", name}});
  }

  grpc::Status SetPinned(const std::string& name, bool pinned, v1::Adapter& adapter) {
    absl::MutexLock lock(&state_.mutex);
    const auto known = state_.adapters.find(name);
    if (known == state_.adapters.end()) return NoAdapter(name);
    known->second.set_pinned(pinned);
    adapter = known->second;
    return grpc::Status::OK;
  }

  v1::ResidentState Resident() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(state_.mutex) {
    v1::ResidentState resident;
    resident.mutable_adapters()->Assign(state_.resident.begin(), state_.resident.end());
    resident.set_sha256(FakeDigest("state"));
    return resident;
  }

  FakeServerState& state_;
  const int page_size_;
};

}  // namespace

std::unique_ptr<grpc::Service> MakeFakeAdminService(FakeServerState& state, int page_size) {
  return std::make_unique<FakeAdminService>(state, page_size);
}

}  // namespace shira::testing
