#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "tests/testutil/fake_services.h"

namespace shira::testing {
namespace {

// Every look is one second and ten tokens after the one before.
class FakeOperationsService final : public v1::Operations::Service {
 public:
  FakeOperationsService(FakeServerState& state, std::string token)
      : state_(state), token_(std::move(token)) {}

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
    response->mutable_generations()->set_drafted_tokens(8 * looks_);
    response->mutable_generations()->set_accepted_tokens(6 * looks_);
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
  FakeServerState& state_;
  const std::string token_;
  int64_t looks_ = 0;
};

}  // namespace

std::unique_ptr<grpc::Service> MakeFakeOperationsService(FakeServerState& state,
                                                         std::string token) {
  return std::make_unique<FakeOperationsService>(state, std::move(token));
}

}  // namespace shira::testing
