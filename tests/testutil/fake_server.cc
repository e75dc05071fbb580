#include "tests/testutil/fake_server.h"

#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server_builder.h>
#include <unicode/unistr.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"

namespace shira::testing {
namespace {

std::vector<int32_t> CodePoints(const std::string& text) {
  const icu::UnicodeString unicode = icu::UnicodeString::fromUTF8(text);
  std::vector<int32_t> ids;
  for (int32_t i = 0; i < unicode.length(); i = unicode.moveIndex32(i, 1))
    ids.push_back(unicode.char32At(i));
  return ids;
}

std::string FromCodePoint(int32_t id) {
  std::string text;
  icu::UnicodeString(static_cast<UChar32>(id)).toUTF8String(text);
  return text;
}

std::string InputText(const v1::GenerateRequest& request) {
  if (!request.has_chat()) return request.prompt();
  const auto& messages = request.chat().messages();
  return messages.empty() ? "" : messages[messages.size() - 1].content();
}

std::string FakeDigest(const std::string& name) {
  std::string digest = absl::StrCat(absl::Hex(std::hash<std::string>()(name), absl::kZeroPad16));
  return absl::StrCat(digest, digest, digest, digest);
}

grpc::Status NoAdapter(const std::string& name) {
  return ErrorStatus(grpc::StatusCode::NOT_FOUND, absl::StrCat("No adapter '", name, "'"),
                     "ADAPTER_NOT_FOUND", {{"adapter", name}});
}

v1::TokenLogprobs Logprobs(int32_t id, int top) {
  v1::TokenLogprobs logprobs;
  logprobs.mutable_chosen()->set_token_id(id);
  logprobs.mutable_chosen()->set_logprob(-0.25f);
  logprobs.mutable_chosen()->set_token(FromCodePoint(id));
  for (int i = 0; i < top; ++i) {
    v1::TokenLogprob& other = *logprobs.add_top();
    other = logprobs.chosen();
    other.set_logprob(-0.25f - i);
  }
  return logprobs;
}

}  // namespace

grpc::Status ErrorStatus(grpc::StatusCode code, const std::string& message,
                         const std::string& reason,
                         const std::map<std::string, std::string>& metadata, int retry_seconds) {
  google::rpc::ErrorInfo info;
  info.set_domain("shira");
  info.set_reason(reason);
  info.mutable_metadata()->insert(metadata.begin(), metadata.end());
  google::rpc::Status details;
  details.set_code(code);
  details.set_message(message);
  details.add_details()->PackFrom(info);
  if (retry_seconds > 0) {
    google::rpc::RetryInfo retry;
    retry.mutable_retry_delay()->set_seconds(retry_seconds);
    details.add_details()->PackFrom(retry);
  }
  return grpc::Status(code, message, details.SerializeAsString());
}

class FakeServer::InferenceService final : public v1::Inference::Service {
 public:
  explicit InferenceService(State& state) : state_(state) {}

  grpc::Status Generate(grpc::ServerContext* context, const v1::GenerateRequest* request,
                        v1::GenerateResponse* response) override {
    const grpc::Status status = Run(*context, *request, *response->mutable_summary(),
                                    [&](const v1::StreamGenerateResponse::Chunk& chunk) {
                                      response->mutable_text()->append(chunk.text());
                                      response->mutable_token_ids()->MergeFrom(chunk.token_ids());
                                      response->mutable_logprobs()->MergeFrom(chunk.logprobs());
                                    });
    for (const v1::ChoiceEnd& end : response->summary().choices()) {
      v1::Choice& choice = *response->add_choices();
      choice.set_text(absl::StrCat(response->text(), "#", end.index()));
      *choice.mutable_token_ids() = response->token_ids();
      *choice.mutable_logprobs() = response->logprobs();
      *choice.mutable_end() = end;
    }
    return status;
  }

  grpc::Status StreamGenerate(grpc::ServerContext* context,
                              const v1::StreamGenerateRequest* request,
                              grpc::ServerWriter<v1::StreamGenerateResponse>* writer) override {
    v1::StreamGenerateResponse event;
    v1::GenerateSummary summary;
    const grpc::Status status = Run(*context, request->request(), summary,
                                    [&](const v1::StreamGenerateResponse::Chunk& chunk) {
                                      *event.mutable_chunk() = chunk;
                                      writer->Write(event);
                                    });
    if (!status.ok() || InputText(request->request()) == "damaged") return status;
    *event.mutable_summary() = summary;
    writer->Write(event);
    return status;
  }

  grpc::Status Tokenize(grpc::ServerContext*, const v1::TokenizeRequest* request,
                        v1::TokenizeResponse* response) override {
    absl::MutexLock lock(&state_.mutex);
    state_.last_tokenize = *request;
    for (const int32_t id : CodePoints(request->text())) response->add_ids(id);
    response->set_text(request->text());
    return grpc::Status::OK;
  }

  grpc::Status Detokenize(grpc::ServerContext*, const v1::DetokenizeRequest* request,
                          v1::DetokenizeResponse* response) override {
    absl::MutexLock lock(&state_.mutex);
    state_.last_detokenize = *request;
    for (const int32_t id : request->ids()) {
      if (id < 0)
        return ErrorStatus(grpc::StatusCode::INVALID_ARGUMENT, "ids: below 0", "INVALID_TOKEN_ID",
                           {{"field", "ids"}});
      response->mutable_text()->append(FromCodePoint(id));
    }
    return grpc::Status::OK;
  }

  grpc::Status GetModel(grpc::ServerContext*, const v1::GetModelRequest*,
                        v1::GetModelResponse* response) override {
    response->set_name("fake-135m");
    response->set_architecture("llama");
    response->set_parameter_count(134515008);
    response->set_dtype("bfloat16");
    response->set_weight_bytes(269030016);
    response->set_vocab_size(49152);
    response->set_context_length(2048);
    response->set_num_layers(30);
    response->set_hidden_size(576);
    response->add_eos_token_ids(2);
    response->set_has_chat_template(true);
    response->set_base_sha256(FakeDigest("base"));
    response->set_server_version("0.1.0");
    return grpc::Status::OK;
  }

 private:
  template <typename Emit>
  grpc::Status Run(grpc::ServerContext& context, const v1::GenerateRequest& request,
                   v1::GenerateSummary& summary, Emit emit) {
    const std::string text = InputText(request);
    {
      absl::MutexLock lock(&state_.mutex);
      state_.last_generate = request;
      const auto key = context.client_metadata().find("shira-adapter");
      state_.last_routing_key = key == context.client_metadata().end()
                                    ? std::string()
                                    : std::string(key->second.data(), key->second.size());
      for (const v1::WeightedAdapter& wanted : request.adapter().adapters()) {
        const auto adapter = state_.adapters.find(wanted.name());
        if (adapter == state_.adapters.end()) return NoAdapter(wanted.name());
        v1::AdapterIdentity& identity = *summary.add_adapter();
        identity.set_name(wanted.name());
        identity.set_version(adapter->second.version());
        identity.set_sha256(adapter->second.sha256());
        identity.set_weight(wanted.has_weight() ? wanted.weight() : 1);
      }
      if (!request.has_adapter())
        summary.mutable_adapter()->Assign(state_.resident.begin(), state_.resident.end());
    }
    if (text == "busy") {
      return ErrorStatus(grpc::StatusCode::RESOURCE_EXHAUSTED, "The queue is full", "QUEUE_FULL",
                         {{"limit", "64"}}, 2);
    }
    if (text == "drain")
      return ErrorStatus(grpc::StatusCode::UNAVAILABLE, "The server drains", "DRAINING", {});
    if (text == "forever") return RunForever(context, emit);

    const std::vector<int32_t> answer = CodePoints("You said: " + text);
    const bool limited = request.stop().has_max_tokens() &&
                         request.stop().max_tokens() < static_cast<int>(answer.size());
    const size_t count = limited ? request.stop().max_tokens() : answer.size();
    for (size_t i = 0; i < count; ++i) {
      v1::StreamGenerateResponse::Chunk chunk;
      chunk.set_text(FromCodePoint(answer[i]));
      chunk.add_token_ids(answer[i]);
      if (request.has_logprobs()) *chunk.add_logprobs() = Logprobs(answer[i], request.logprobs());
      emit(chunk);
    }
    summary.set_request_id("fake-1");
    summary.set_finish_reason(limited ? v1::FINISH_REASON_LENGTH : v1::FINISH_REASON_STOP);
    if (!limited) summary.set_stop_token_id(2);
    for (const int32_t id : CodePoints(text)) summary.add_prompt_token_ids(id);
    summary.mutable_usage()->set_prompt_tokens(summary.prompt_token_ids_size());
    summary.mutable_usage()->set_completion_tokens(static_cast<int>(count));
    summary.mutable_timings()->mutable_queue()->set_nanos(100000);
    summary.mutable_timings()->mutable_switch_()->set_nanos(2500000);
    summary.mutable_timings()->mutable_prefill()->set_nanos(30000000);
    summary.mutable_timings()->mutable_decode()->set_seconds(1);
    if (request.sampling().temperature() > 0)
      summary.set_seed(request.sampling().has_seed() ? request.sampling().seed() : 42);
    for (int i = 0; request.n() > 1 && i < request.n(); ++i) {
      v1::ChoiceEnd& end = *summary.add_choices();
      end.set_index(i);
      end.set_finish_reason(summary.finish_reason());
      if (summary.has_seed()) end.set_seed(summary.seed() + i);
    }
    return grpc::Status::OK;
  }

  template <typename Emit>
  grpc::Status RunForever(grpc::ServerContext& context, Emit emit) {
    v1::StreamGenerateResponse::Chunk chunk;
    chunk.set_text("la ");
    while (!context.IsCancelled()) {
      emit(chunk);
      absl::SleepFor(absl::Milliseconds(5));
    }
    absl::MutexLock lock(&state_.mutex);
    ++state_.cancelled;
    return grpc::Status::CANCELLED;
  }

  State& state_;
};

class FakeServer::AdminService final : public v1::AdapterAdmin::Service {
 public:
  AdminService(State& state, int page_size) : state_(state), page_size_(page_size) {}

  grpc::Status LoadAdapter(grpc::ServerContext*, const v1::LoadAdapterRequest* request,
                           v1::LoadAdapterResponse* response) override {
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

  grpc::Status ListAliases(grpc::ServerContext*, const v1::ListAliasesRequest*,
                           v1::ListAliasesResponse* response) override {
    absl::MutexLock lock(&state_.mutex);
    for (const auto& [name, alias] : state_.aliases) *response->add_aliases() = alias;
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

  State& state_;
  const int page_size_;
};

// Every look is one second and ten tokens after the one before.
class FakeServer::OperationsService final : public v1::Operations::Service {
 public:
  OperationsService(State& state, std::string token) : state_(state), token_(std::move(token)) {}

  grpc::Status GetServerStatus(grpc::ServerContext* context, const v1::GetServerStatusRequest*,
                               v1::GetServerStatusResponse* response) override {
    const auto header = context->client_metadata().find("authorization");
    const bool known = header != context->client_metadata().end() &&
                       header->second == grpc::string_ref(absl::StrCat("Bearer ", token_));
    if (!token_.empty() && !known) return {grpc::StatusCode::UNAUTHENTICATED, "who are you?"};
    absl::MutexLock lock(&state_.mutex);
    ++looks_;
    response->set_server_version("1.2.3");
    response->set_state(v1::SERVER_STATE_SERVING);
    response->mutable_start_time()->set_seconds(1700000000);
    response->mutable_time()->set_seconds(1700000100 + looks_);
    response->set_model("fake");
    response->mutable_generations()->set_queued(3);
    response->mutable_generations()->set_running(2);
    response->mutable_generations()->set_generated_tokens(10 * looks_);
    auto& load = *response->add_adapter_loads();
    load.set_adapter("pirate");
    load.set_running(2);
    load.set_waiting(3);
    response->mutable_memory()->set_process_bytes(1 << 20);
    response->mutable_adapters()->set_ready(static_cast<int64_t>(state_.adapters.size()));
    *response->mutable_resident()->mutable_adapters() = {state_.resident.begin(),
                                                         state_.resident.end()};
    *response->mutable_default_state() = response->resident();
    response->set_switches(state_.switches);
    if (state_.damaged) response->add_damaged_parameters("model.layers.0.self_attn.q_proj.weight");
    return grpc::Status::OK;
  }

 private:
  State& state_;
  const std::string token_;
  int64_t looks_ = 0;
};

FakeServer::FakeServer(const FakeServerOptions& options)
    : inference_(std::make_unique<InferenceService>(state_)),
      admin_(std::make_unique<AdminService>(state_, options.page_size)),
      operations_(std::make_unique<OperationsService>(state_, options.token)) {
  grpc::EnableDefaultHealthCheckService(options.has_health_service);
  grpc::ServerBuilder builder;
  builder.AddListeningPort(absl::StrCat("127.0.0.1:", options.port),
                           grpc::InsecureServerCredentials(), &port_);
  builder.RegisterService(inference_.get());
  builder.RegisterService(admin_.get());
  builder.RegisterService(operations_.get());
  server_ = builder.BuildAndStart();
}

FakeServer::~FakeServer() {
  if (server_ != nullptr) server_->Shutdown(std::chrono::system_clock::now());
}

std::string FakeServer::address() const { return absl::StrCat("127.0.0.1:", port_); }

void FakeServer::SetServing(bool serving) {
  server_->GetHealthCheckService()->SetServingStatus(serving);
}

void FakeServer::Damage() {
  absl::MutexLock lock(&state_.mutex);
  state_.damaged = true;
}

std::string FakeServer::last_routing_key() const {
  absl::MutexLock lock(&state_.mutex);
  return state_.last_routing_key;
}

v1::GenerateRequest FakeServer::last_generate() const {
  absl::MutexLock lock(&state_.mutex);
  return state_.last_generate;
}

v1::TokenizeRequest FakeServer::last_tokenize() const {
  absl::MutexLock lock(&state_.mutex);
  return state_.last_tokenize;
}

v1::DetokenizeRequest FakeServer::last_detokenize() const {
  absl::MutexLock lock(&state_.mutex);
  return state_.last_detokenize;
}

v1::LoadAdapterRequest FakeServer::last_load() const {
  absl::MutexLock lock(&state_.mutex);
  return state_.last_load;
}

v1::CreateBlendRequest FakeServer::last_blend() const {
  absl::MutexLock lock(&state_.mutex);
  return state_.last_blend;
}

v1::ListAdaptersRequest FakeServer::last_list() const {
  absl::MutexLock lock(&state_.mutex);
  return state_.last_list;
}

v1::UploadAdapterRequest::Header FakeServer::last_upload() const {
  absl::MutexLock lock(&state_.mutex);
  return state_.last_upload;
}

std::string FakeServer::last_upload_bytes() const {
  absl::MutexLock lock(&state_.mutex);
  return state_.last_upload_bytes;
}

v1::UnloadAdapterRequest FakeServer::last_unload() const {
  absl::MutexLock lock(&state_.mutex);
  return state_.last_unload;
}

bool FakeServer::WaitForCancelled(int count) const {
  absl::MutexLock lock(&state_.mutex);
  const auto reached = [this, count]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(state_.mutex) {
    return state_.cancelled >= count;
  };
  return state_.mutex.AwaitWithTimeout(absl::Condition(&reached), absl::Seconds(20));
}

}  // namespace shira::testing
