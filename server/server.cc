#include "server/server.h"

#include <grpc/support/log.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <iterator>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "base/atomic_file.h"
#include "base/status_macros.h"
#include "base/steady_clock.h"
#include "base/strings.h"
#include "base/work_queue.h"
#include "server/access/access_control.h"
#include "server/adapter_startup.h"
#include "server/descriptor_limit.h"
#include "server/executor/torch/torch_executor.h"
#include "server/generation/backend.h"
#include "server/generation/generation_ledger.h"
#include "server/grpc/adapter_admin_service.h"
#include "server/grpc/grpc_build.h"
#include "server/grpc/inference_service.h"
#include "server/grpc/operations_service.h"
#include "server/grpc/rpc_server.h"
#include "server/http/http_server.h"
#include "server/http/http_service.h"
#include "server/http/tls_contexts.h"
#include "server/loaded_model.h"
#include "server/logging/call_records.h"
#include "server/logging/log_setup.h"
#include "server/metrics/exporter.h"
#include "server/metrics/metrics.h"
#include "server/metrics/server_samples.h"
#include "server/model/kernels/bf16_products.h"
#include "server/network/tls_files.h"
#include "server/version.h"

namespace shira {
namespace {

// After the engine has drained: what clients get to read the ends of their answers.
constexpr std::chrono::seconds kLastWritesTimeout(2);
// A client has one of them at most, so that decoding is left with some of the machine.
constexpr int kTextThreads = 2;
// Each may wait for running requests to end, for as long as its caller does.
constexpr int kControlThreads = 16;

void LogGrpc(gpr_log_func_args* args) {
  spdlog::debug("grpc: {}:{}: {}", args->file, args->line, args->message);
}

AccessControl::Options AccessOptions(const ServerOptions& options) {
  return {.access_file = options.access_file,
          .client_certificates = !options.tls_client_ca.empty(),
          .reload_interval = options.reload_interval};
}

TlsOptions TlsOptionsOf(const ServerOptions& options) {
  return {.files = {.certificate = options.tls_certificate,
                    .key = options.tls_key,
                    .client_ca = options.tls_client_ca},
          .client_certificate_optional = options.tls_client_optional,
          .reload_interval = options.reload_interval};
}

// What there is once the config has been looked at.
struct CheckedConfig {
  ModelOnDisk model;
  std::unique_ptr<AccessControl> access;
};

absl::StatusOr<CheckedConfig> Check(const ServerOptions& options) {
  SHIRA_RETURN_IF_ERROR(CheckPaths(options));
  SHIRA_RETURN_IF_ERROR(CheckBf16ProductsVariable());
  if (!options.device.empty()) SHIRA_RETURN_IF_ERROR(CheckTorchDevice(options.device));
  if (options.uses_tls()) SHIRA_RETURN_IF_ERROR(CheckTlsFiles(TlsOptionsOf(options).files));
  CheckedConfig checked;
  SHIRA_ASSIGN_OR_RETURN(checked.access, AccessControl::Create(AccessOptions(options)));
  SHIRA_ASSIGN_OR_RETURN(checked.model, ModelOnDisk::Open(options));
  return checked;
}

}  // namespace

class Server::Impl {
 public:
  Impl(ServerOptions options, CheckedConfig checked)
      : options_(std::move(options)),
        on_disk_(std::move(checked.model)),
        access_(std::move(checked.access)) {}
  ~Impl();

  absl::Status OpenPorts();
  void WarnOfGrpc() const;
  absl::Status Load(const absl::Notification& stop);
  void ServeUntil(const absl::Notification& stop);
  void Reload();

 private:
  absl::StatusOr<std::unique_ptr<RpcServer>> OpenPort(
      const std::string& listen, const std::vector<RpcServer::Service>& services);
  absl::Status OpenHttp();
  void LogListening(const std::string& listen, std::string_view protocol,
                    const std::string& address) const;
  absl::Status OpenMetrics();
  // Fewer connections than were asked for where the system permits few open files.
  void LimitConnections();
  std::vector<Sample> SamplesOf() const;
  std::vector<Sample> SamplesOfConnections() const;
  // What the weight guard tells. Health says SERVING only while nothing is known to be damaged.
  void OnWeightsChecked(const std::vector<std::string>& damaged);
  // What health says, on every port.
  void SetServing(bool serving);
  absl::Status WritePortFile(const std::string& path, const std::string& address);

  const ServerOptions options_;
  const absl::Time start_time_ = absl::Now();
  std::optional<ModelOnDisk> on_disk_;  // until Load()
  const std::unique_ptr<AccessControl> access_;
  std::vector<std::string> port_files_;  // that were written

  CallRecords records_;
  BackendGate gate_;
  Metrics metrics_{{.max_adapters = options_.metrics_max_adapters}};
  GenerationLedger ledger_{{.max_waiting_per_client = options_.max_queued_per_client,
                            .max_unread_bytes = options_.max_unread_bytes},
                           metrics_};
  std::unique_ptr<LoadedModel> model_;
  // Lanes, so that a disk that hangs does not block tokenizing, and calls that wait for requests do not
  // keep adapters from being read for these. They use the model.
  WorkQueue text_work_{{.name = "tokenising", .threads = kTextThreads}};
  WorkQueue disk_work_{{.name = "adapters to be read",
                        .threads = options_.lifecycle.max_concurrent_loads + 1,
                        .max_waiting = 1024,
                        .max_waiting_per_owner = 256}};
  WorkQueue control_work_{{.name = "changes that wait",
                           .threads = kControlThreads,
                           .max_waiting = 1024,
                           .max_waiting_per_owner = 256}};
  const ServiceContext context_{.gate = gate_,
                                .records = records_,
                                .ledger = ledger_,
                                .text_work = text_work_,
                                .disk_work = disk_work_,
                                .control_work = control_work_,
                                .log_prompts = options_.log_prompts};
  InferenceService inference_{context_};
  AdapterAdminService admin_{context_};
  OperationsService operations_{context_, std::string(kVersion), start_time_};
  HttpService http_service_{
      {.version = std::string(kVersion),
       .start = start_time_,
       .serves_admin = options_.admin_listen.empty()},
      context_,
      records_,
      *access_,
      [this](std::string_view method, absl::StatusCode code, absl::Duration duration) {
        metrics_.ObserveCall(method, code, duration);
      }};
  std::unique_ptr<MetricsExporter> exporter_;
  const std::shared_ptr<MessageMemory> message_memory_ = std::make_shared<MessageMemory>(
      MessageMemory::Options{.limit_bytes = options_.message_memory_bytes});
  int64_t max_connections_ = 0;                    // of each port
  std::shared_ptr<TlsContexts> http_tls_;          // nullptr: no HTTP, or plain text
  std::vector<std::unique_ptr<RpcServer>> ports_;  // these two last: calls use what is above
  std::unique_ptr<HttpServer> http_;               // nullptr: none
};

absl::Status Server::CheckConfig(const ServerOptions& options) { return Check(options).status(); }

absl::StatusOr<std::unique_ptr<Server>> Server::Start(ServerOptions options) {
  SHIRA_ASSIGN_OR_RETURN(CheckedConfig checked, Check(options));
  auto impl = std::make_unique<Impl>(std::move(options), std::move(checked));
  SHIRA_RETURN_IF_ERROR(impl->OpenPorts());
  return std::unique_ptr<Server>(new Server(std::move(impl)));
}

Server::Server(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Server::~Server() = default;
absl::Status Server::Load(const absl::Notification& stop) { return impl_->Load(stop); }
void Server::ServeUntil(const absl::Notification& stop) { impl_->ServeUntil(stop); }
void Server::Reload() { impl_->Reload(); }

absl::Status Server::Impl::OpenPorts() {
  gpr_set_log_function(LogGrpc);
  WarnOfGrpc();
  SHIRA_RETURN_IF_ERROR(OpenMetrics());
  LimitConnections();
  std::vector<RpcServer::Service> services = {
      {&inference_, std::string(v1::Inference::service_full_name())}};
  std::vector<RpcServer::Service> admin = {
      {&admin_, std::string(v1::AdapterAdmin::service_full_name())}};
  // Whoever reaches either port may want to look, if a role allows it.
  for (std::vector<RpcServer::Service>* port : {&services, &admin}) {
    port->push_back({&operations_, std::string(v1::Operations::service_full_name())});
  }
  if (options_.admin_listen.empty()) {
    services.push_back(admin.front());
    admin.clear();
  }
  SHIRA_ASSIGN_OR_RETURN(std::unique_ptr<RpcServer> port, OpenPort(options_.listen, services));
  ports_.push_back(std::move(port));
  if (!admin.empty()) {
    SHIRA_ASSIGN_OR_RETURN(port, OpenPort(options_.admin_listen, admin));
    ports_.push_back(std::move(port));
  }
  if (!options_.http_listen.empty()) SHIRA_RETURN_IF_ERROR(OpenHttp());
  metrics_.AddSource([this] { return SamplesOfConnections(); });
  return absl::OkStatus();
}

void Server::Impl::WarnOfGrpc() const {
  const GrpcBuild grpc = LinkedGrpc();
  spdlog::info("{}", Describe(grpc));
  for (const std::string& address : {options_.listen, options_.admin_listen}) {
    const std::string risk = RiskOf(grpc);
    if (address.empty() || *IsLocalAddress(address) || risk.empty()) continue;
    spdlog::warn("{} can be reached from other machines, and {}", address, risk);
  }
}

void Server::Impl::LimitConnections() {
  const int64_t ports =
      1 + (options_.admin_listen.empty() ? 0 : 1) + (options_.http_listen.empty() ? 0 : 1);
  const int64_t wanted = DescriptorsFor(ports * options_.max_connections);
  const int64_t descriptors = RaiseDescriptorLimit(wanted);
  const int64_t room = std::max<int64_t>(1, ConnectionsFor(descriptors) / ports);
  max_connections_ = std::min(options_.max_connections, room);
  if (max_connections_ == options_.max_connections) return;
  spdlog::warn(
      "connections: limited to {} instead of {} (--max-connections), because the process may have "
      "{} open files only (ulimit -n)",
      max_connections_, options_.max_connections, descriptors);
}

absl::Status Server::Impl::OpenMetrics() {
  metrics_.AddSource([this] { return SamplesOf(); });
  if (options_.metrics_listen.empty()) return absl::OkStatus();
  SHIRA_ASSIGN_OR_RETURN(exporter_,
                         MetricsExporter::Start({.listen = options_.metrics_listen}, metrics_));
  spdlog::info("metrics at http://{} (port {})", options_.metrics_listen, exporter_->port());
  return absl::OkStatus();
}

std::vector<Sample> Server::Impl::SamplesOf() const {
  std::vector<Sample> samples = ProcessSamples(kVersion, start_time_, DroppedLogLines());
  const Backend* backend = gate_.Peek();
  if (backend == nullptr) return samples;
  const auto add = [&](std::vector<Sample> more) {
    std::move(more.begin(), more.end(), std::back_inserter(samples));
  };
  add(EngineSamples(backend->engine.stats()));
  add(LifecycleSamples(backend->lifecycle.stats(), backend->lifecycle.List()));
  const ModelInfo& model = backend->model;
  add({AdapterRequestsInfo(ledger_.Loads(), options_.max_running, absl::Now()),
       InfoSample("shira_model_info", "The base model",
                  {{"name", model.name},
                   {"architecture", model.architecture},
                   {"dtype", model.dtype},
                   {"base_sha256", model.base_sha256}}),
       InfoSample("shira_resident_state_info", "The state that the weights are in",
                  {{"adapters", AdapterLabel(backend->lifecycle.Describe(
                                    backend->switch_engine.resident()->key))}})});
  return samples;
}

std::vector<Sample> Server::Impl::SamplesOfConnections() const {
  ConnectionCounts counts;
  const auto add = [&](const ConnectionAcceptor::Stats& stats) {
    counts.open += stats.open;
    counts.accepted += stats.accepted;
    counts.refused += stats.refused;
  };
  for (const std::unique_ptr<RpcServer>& port : ports_) add(port->connections());
  if (http_ != nullptr) add(http_->connections());
  const MessageMemory::Stats messages = message_memory_->stats();
  counts.message_bytes = messages.held_bytes;
  counts.refused_messages = messages.refused;
  return ConnectionSamples(counts);
}

absl::StatusOr<std::unique_ptr<RpcServer>> Server::Impl::OpenPort(
    const std::string& listen, const std::vector<RpcServer::Service>& services) {
  const TlsOptions tls = TlsOptionsOf(options_);
  SHIRA_ASSIGN_OR_RETURN(
      std::unique_ptr<RpcServer> port,
      RpcServer::Start(
          {.listen = listen,
           .max_message_bytes = options_.max_message_bytes,
           .message_memory = message_memory_,
           .max_metadata_bytes = options_.max_metadata_bytes,
           .max_connections = max_connections_,
           .max_calls_per_connection = options_.max_calls_per_connection,
           .keepalive = options_.keepalive,
           .tls = options_.uses_tls() ? &tls : nullptr},
          services, *access_, records_,
          [this](std::string_view method, absl::StatusCode code, absl::Duration duration) {
            metrics_.ObserveCall(method, code, duration);
          }));
  LogListening(listen, "gRPC", port->address());
  return port;
}

absl::Status Server::Impl::OpenHttp() {
  if (options_.uses_tls()) {
    SHIRA_ASSIGN_OR_RETURN(http_tls_, TlsContexts::Create(TlsOptionsOf(options_)));
  }
  SHIRA_ASSIGN_OR_RETURN(http_, HttpServer::Start({.listen = options_.http_listen,
                                                   .max_head_bytes = options_.max_metadata_bytes,
                                                   .max_body_bytes = options_.max_message_bytes,
                                                   .memory = message_memory_,
                                                   .max_connections = max_connections_,
                                                   .idle = options_.keepalive,
                                                   .request = message_memory_->options().timeout,
                                                   .no_progress = 2 * options_.keepalive,
                                                   .tls = http_tls_},
                                                  http_service_));
  LogListening(options_.http_listen, "HTTP", http_->address());
  return absl::OkStatus();
}

void Server::Impl::LogListening(const std::string& listen, std::string_view protocol,
                                const std::string& address) const {
  spdlog::info("shira-server {}: listening on {} (port {}) for {}{}, loading {}",
               std::string(kVersion), listen, address, std::string(protocol),
               options_.uses_tls() ? " with TLS" : "", options_.model);
}

void Server::Impl::SetServing(bool serving) {
  for (const std::unique_ptr<RpcServer>& port : ports_) port->SetServing(serving);
  http_service_.SetServing(serving);
}

absl::Status Server::Impl::Load(const absl::Notification& stop) {
  SHIRA_ASSIGN_OR_RETURN(model_,
                         LoadedModel::Load(*std::move(on_disk_), options_, disk_work_, stop));
  on_disk_.reset();
  const Backend& backend = model_->backend();
  SHIRA_RETURN_IF_ERROR(LoadStartupAdapters(options_, backend.lifecycle, stop));
  gate_.Open(backend);
  SetServing(true);
  backend.weight_guard.Start(
      {.interval = options_.lifecycle.verify_interval,
       .on_change = [this](const auto& damaged) { OnWeightsChecked(damaged); }});
  if (ports_.size() > 1) {
    SHIRA_RETURN_IF_ERROR(WritePortFile(options_.admin_port_file, ports_.back()->address()));
  }
  if (http_ != nullptr) {
    SHIRA_RETURN_IF_ERROR(WritePortFile(options_.http_port_file, http_->address()));
  }
  SHIRA_RETURN_IF_ERROR(WritePortFile(options_.port_file, ports_.front()->address()));
  spdlog::info("serving {} ({})", model_->backend().model.name, ports_.front()->address());
  return absl::OkStatus();
}

absl::Status Server::Impl::WritePortFile(const std::string& path, const std::string& address) {
  if (path.empty()) return absl::OkStatus();
  if (!WriteFileAtomically(path, StrCat(address, "\n")).ok()) {
    return absl::PermissionDeniedError(StrCat("cannot write the port file ", path));
  }
  port_files_.push_back(path);
  return absl::OkStatus();
}

void Server::Impl::OnWeightsChecked(const std::vector<std::string>& damaged) {
  if (damaged.empty()) {
    spdlog::info("weights: the check finds no damage any more");
  } else {
    spdlog::critical("weights: damaged in {}; health says NOT_SERVING: restart the server",
                     absl::StrJoin(damaged, ", "));
  }
  SetServing(damaged.empty());
}

void Server::Impl::ServeUntil(const absl::Notification& stop) {
  stop.WaitForNotification();
  const SteadyTime start = SteadyNow();
  for (const std::unique_ptr<RpcServer>& port : ports_) port->SetNotServingForGood();
  gate_.Close();  // and with it HTTP's health
  model_->Drain(options_.drain_timeout);
  // A client that reads slowly gets the rest of its answer, as long as there is time. Whoever
  // watches the health would go on doing so, and is not waited for.
  for (const std::string_view service : {"/shira.", "/v1/"}) {
    records_.WaitForEnd(service, start + options_.drain_timeout - SteadyNow());
  }
  absl::SleepFor(start + options_.drain_delay - SteadyNow());
  const auto deadline = std::chrono::system_clock::now() + kLastWritesTimeout;
  if (http_ != nullptr) http_->Shutdown(SteadyNow() + absl::FromChrono(kLastWritesTimeout));
  for (const std::unique_ptr<RpcServer>& port : ports_) port->Shutdown(deadline);
  spdlog::info("drained in {:.0f} ms", absl::ToDoubleMilliseconds(SteadyNow() - start));
}

void Server::Impl::Reload() {
  std::vector<std::string> files;
  if (!options_.access_file.empty()) files.push_back(options_.access_file);
  if (options_.uses_tls()) files.push_back("the certificates (within --reload-interval)");
  spdlog::info("reload: {}", files.empty() ? "there is no access file or certificate to read again"
                                           : StrCat("reading ", absl::StrJoin(files, " and ")));
  absl::Status status = access_->Reload();
  if (status.ok() && options_.uses_tls()) status = CheckTlsFiles(TlsOptionsOf(options_).files);
  if (status.ok() && http_tls_ != nullptr) status = http_tls_->Reload();
  if (!status.ok()) {
    spdlog::error("reload: failed, and what was read before stays in force: {}", status.ToString());
  }
}

Server::Impl::~Impl() {
  if (model_ != nullptr) model_->backend().weight_guard.Stop();  // it speaks to the health service
  metrics_.RemoveSources();
  http_.reset();
  ports_.clear();
  if (model_ != nullptr) model_->Drain(absl::ZeroDuration());  // the engine uses a lane
  for (const std::string& path : port_files_) std::remove(path.c_str());
}

}  // namespace shira
