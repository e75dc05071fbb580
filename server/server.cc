#include "server/server.h"

#include <grpc/support/log.h>
#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>
#include <spdlog/spdlog.h>

#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <optional>
#include <utility>

#include "absl/time/clock.h"
#include "base/status_macros.h"
#include "base/strings.h"
#include "server/loaded_model.h"
#include "server/service/adapter_admin_service.h"
#include "server/service/backend.h"
#include "server/service/inference_service.h"
#include "server/version.h"

namespace shira {
namespace {

// After the engine has drained: what clients get to read the ends of their answers.
constexpr std::chrono::seconds kLastWritesTimeout(2);

void LogGrpc(gpr_log_func_args* args) {
  spdlog::debug("grpc: {}:{}: {}", args->file, args->line, args->message);
}

// Whole or not at all: a reader never sees half of it.
absl::Status WriteAtomically(const std::string& path, std::string_view content) {
  const std::string temporary = StrCat(path, ".tmp");
  std::ofstream file(temporary, std::ios::binary | std::ios::trunc);
  file << content;
  file.close();
  std::error_code error;
  if (file.good()) std::filesystem::rename(temporary, path, error);
  if (!file.good() || error) {
    return absl::PermissionDeniedError(StrCat("cannot write the port file ", path));
  }
  return absl::OkStatus();
}

}  // namespace

class Server::Impl {
 public:
  Impl(ServerOptions options, ModelOnDisk model)
      : options_(std::move(options)), on_disk_(std::move(model)) {}
  ~Impl();

  absl::Status OpenPort();
  absl::Status Load(const absl::Notification& stop);
  void ServeUntil(const absl::Notification& stop);

 private:
  absl::Status LoadAdapters(const absl::Notification& stop);
  void SetServing(bool serving);

  const ServerOptions options_;
  std::optional<ModelOnDisk> on_disk_;  // until Load()
  std::string address_;                 // the port that was bound, or unix:PATH
  bool wrote_port_file_ = false;

  BackendGate gate_;
  InferenceService inference_{gate_};
  AdapterAdminService admin_{gate_};
  std::unique_ptr<LoadedModel> model_;
  std::unique_ptr<grpc::Server> grpc_;  // last: its calls use what is above
};

absl::StatusOr<std::unique_ptr<Server>> Server::Start(ServerOptions options) {
  SHIRA_RETURN_IF_ERROR(CheckPaths(options));
  SHIRA_ASSIGN_OR_RETURN(ModelOnDisk model, ModelOnDisk::Open(options));
  auto impl = std::make_unique<Impl>(std::move(options), std::move(model));
  SHIRA_RETURN_IF_ERROR(impl->OpenPort());
  return std::unique_ptr<Server>(new Server(std::move(impl)));
}

Server::Server(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Server::~Server() = default;
absl::Status Server::Load(const absl::Notification& stop) { return impl_->Load(stop); }
void Server::ServeUntil(const absl::Notification& stop) { impl_->ServeUntil(stop); }

absl::Status Server::Impl::OpenPort() {
  gpr_set_log_function(LogGrpc);
  grpc::EnableDefaultHealthCheckService(true);
  grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  grpc::ServerBuilder builder;
  // Else a second server on the same port would start, and get every other call.
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  builder.SetMaxReceiveMessageSize(static_cast<int>(options_.max_message_bytes));
  int port = 0;
  builder.AddListeningPort(options_.listen, grpc::InsecureServerCredentials(), &port);
  builder.RegisterService(&inference_);
  builder.RegisterService(&admin_);
  grpc_ = builder.BuildAndStart();
  const bool is_unix = options_.listen.starts_with("unix:");
  if (grpc_ == nullptr || (port == 0 && !is_unix)) {
    return absl::UnavailableError(StrCat("cannot listen on ", options_.listen,
                                         ": in use, or not an address of this machine"));
  }
  SetServing(false);
  address_ = is_unix ? options_.listen : absl::StrCat(port);
  spdlog::info("shira-server {}: listening on {} (port {}), loading {}", std::string(kVersion),
               options_.listen, port, options_.model);
  return absl::OkStatus();
}

void Server::Impl::SetServing(bool serving) {
  grpc::HealthCheckServiceInterface* health = grpc_->GetHealthCheckService();
  health->SetServingStatus("", serving);
  health->SetServingStatus(v1::Inference::service_full_name(), serving);
  health->SetServingStatus(v1::AdapterAdmin::service_full_name(), serving);
}

absl::Status Server::Impl::Load(const absl::Notification& stop) {
  SHIRA_ASSIGN_OR_RETURN(model_, LoadedModel::Load(*std::move(on_disk_), options_, stop));
  on_disk_.reset();
  SHIRA_RETURN_IF_ERROR(LoadAdapters(stop));
  gate_.Open(model_->backend());
  SetServing(true);
  if (!options_.port_file.empty()) {
    SHIRA_RETURN_IF_ERROR(WriteAtomically(options_.port_file, StrCat(address_, "\n")));
    wrote_port_file_ = true;
  }
  spdlog::info("serving {} ({})", model_->backend().model.name, address_);
  return absl::OkStatus();
}

absl::Status Server::Impl::LoadAdapters(const absl::Notification& stop) {
  for (const NamedAdapter& adapter : options_.adapters) {
    if (stop.HasBeenNotified()) return absl::CancelledError("stopped while adapters were loading");
    const std::string path = std::filesystem::absolute(adapter.path).native();
    const auto loaded = model_->backend().registry.Load(adapter.name, path, "");
    if (!loaded.ok()) {
      return absl::Status(loaded.status().code(),
                          StrCat("adapter ", adapter.name, ": ", ToStd(loaded.status().message())));
    }
    spdlog::info("adapter {}: loaded from {} in {:.1f} ms", adapter.name, loaded->info.path,
                 absl::ToDoubleMilliseconds(loaded->info.load_duration));
  }
  return absl::OkStatus();
}

void Server::Impl::ServeUntil(const absl::Notification& stop) {
  stop.WaitForNotification();
  const absl::Time start = absl::Now();
  grpc_->GetHealthCheckService()->Shutdown();  // NOT_SERVING, for good
  gate_.Close();
  model_->Drain(options_.drain_timeout);
  grpc_->Shutdown(std::chrono::system_clock::now() + kLastWritesTimeout);
  spdlog::info("drained in {:.0f} ms", absl::ToDoubleMilliseconds(absl::Now() - start));
}

Server::Impl::~Impl() {
  if (grpc_ != nullptr) grpc_->Shutdown(std::chrono::system_clock::now());
  if (wrote_port_file_) std::remove(options_.port_file.c_str());
}

}  // namespace shira
