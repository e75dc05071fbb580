#include "tests/testutil/fake_server.h"

#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server_builder.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace shira::testing {
FakeServer::FakeServer(const FakeServerOptions& options)
    : inference_(MakeFakeInferenceService(state_)),
      admin_(MakeFakeAdminService(state_, options.page_size)),
      operations_(MakeFakeOperationsService(state_, options.token)) {
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

void FakeServer::MakeUnavailable(int calls) {
  absl::MutexLock lock(&state_.mutex);
  state_.unavailable = calls;
}

int FakeServer::unavailable_calls() const {
  absl::MutexLock lock(&state_.mutex);
  return state_.unavailable;
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
