#include "server/server_options.h"

#include <arpa/inet.h>
#include <sys/un.h>

#include <array>
#include <filesystem>
#include <optional>
#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/strip.h"
#include "base/problem_list.h"
#include "base/status_macros.h"
#include "base/strings.h"
#include "server/catalog/adapter_name.h"
#include "server/network/message_memory.h"

namespace shira {
namespace {

namespace fs = std::filesystem;

constexpr auto kResidentDTypes = std::to_array<std::pair<std::string_view, DType>>({
    {"float32", DType::kF32},
    {"bfloat16", DType::kBF16},
    {"float16", DType::kF16},
});

constexpr std::string_view kUnixPrefix = "unix:";

bool IsLoopbackHost(const std::string& host) {
  if (host == "localhost") return true;
  in_addr v4;
  if (inet_pton(AF_INET, host.c_str(), &v4) == 1) return (ntohl(v4.s_addr) >> 24) == 127;
  in6_addr v6;
  return inet_pton(AF_INET6, host.c_str(), &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}

absl::Status ExpectFolder(std::string_view what, const std::string& path) {
  std::error_code error;
  if (fs::is_directory(path, error)) return absl::OkStatus();
  if (fs::exists(path, error)) {
    return absl::FailedPreconditionError(StrCat(what, " ", path, " is not a folder"));
  }
  return absl::NotFoundError(StrCat(what, " ", path, " does not exist"));
}

constexpr std::string_view kListenFlag = "--listen";
constexpr std::string_view kAdminListenFlag = "--admin-listen";
constexpr std::string_view kHttpListenFlag = "--http-listen";

// What is wrong with an address that calls come to.
void ValidateCallAddress(std::string_view flag, const std::string& address,
                         const ServerOptions& options, ProblemList& problems) {
  const absl::StatusOr<bool> local = IsLocalAddress(address);
  if (!local.ok()) {
    problems.Add(flag, ": ", ToStd(local.status().message()));
    return;
  }
  const bool is_protected = options.uses_tls() && options.authenticates();
  if (*local || is_protected || options.insecure_listen_anywhere) return;
  problems.Add(flag, ": ", address, " can be reached from other machines, without ",
               options.uses_tls() ? "authentication" : "encryption and authentication",
               ": pass --tls-cert and --tls-key with --access-file or --tls-client-ca, or "
               "--insecure-listen-anywhere if every machine on the network is trusted");
}

void ValidateAddresses(const ServerOptions& options, ProblemList& problems) {
  ValidateCallAddress(kListenFlag, options.listen, options, problems);
  if (!options.admin_listen.empty()) {
    ValidateCallAddress(kAdminListenFlag, options.admin_listen, options, problems);
  } else if (!options.admin_port_file.empty()) {
    problems.Add("--admin-port-file: there is no --admin-listen");
  }
  if (!options.http_listen.empty()) {
    ValidateCallAddress(kHttpListenFlag, options.http_listen, options, problems);
  } else if (!options.http_port_file.empty()) {
    problems.Add("--http-port-file: there is no --http-listen");
  }
  if (options.metrics_listen.empty()) return;
  const absl::StatusOr<bool> local = IsLocalAddress(options.metrics_listen);
  if (!local.ok()) {
    problems.Add("--metrics-listen: ", ToStd(local.status().message()));
  } else if (options.metrics_listen.starts_with(kUnixPrefix)) {
    problems.Add("--metrics-listen: expected HOST:PORT, found '", options.metrics_listen, "'");
  } else if (!*local && !options.insecure_metrics_anywhere) {
    problems.Add(
        "--metrics-listen: ", options.metrics_listen,
        " can be reached from other machines, and the metrics have no authentication: pass "
        "--insecure-metrics-anywhere if every machine on the network is trusted");
  }
}

void ValidateSecurity(const ServerOptions& options, ProblemList& problems) {
  if (options.tls_certificate.empty() != options.tls_key.empty()) {
    problems.Add("--tls-cert and --tls-key: one needs the other");
  }
  if (!options.tls_client_ca.empty() && !options.uses_tls()) {
    problems.Add("--tls-client-ca: needs --tls-cert");
  }
  if (options.tls_client_optional && options.tls_client_ca.empty()) {
    problems.Add("--tls-client-optional: needs --tls-client-ca");
  }
  // gRPC's watcher counts in whole seconds.
  if (options.reload_interval < absl::Seconds(1)) {
    problems.Add("--reload-interval: expected at least 1 second");
  }
}

void ValidateAdapters(const ServerOptions& options, ProblemList& problems) {
  std::set<std::string> names;
  for (const NamedAdapter& adapter : options.adapters) {
    if (const absl::Status status = ValidateAdapterName(adapter.name); !status.ok()) {
      problems.Add("--adapter: ", ToStd(status.message()));
    } else if (!names.insert(adapter.name).second) {
      problems.Add("--adapter: the name '", adapter.name, "' occurs twice");
    }
  }
}

void ValidateLimits(const ServerOptions& options, ProblemList& problems) {
  const auto at_least = [&](std::string_view flag, int64_t value, int64_t least) {
    if (value < least) problems.Add(flag, ": expected at least ", least, ", found ", value);
  };
  at_least("--threads", options.threads, 0);
  const int64_t message_memory = MessageMemory::kConnectionDivisor * options.max_message_bytes;
  if (options.message_memory_bytes < message_memory) {
    problems.Add("--message-memory-mb: expected at least ", message_memory >> 20, ", ",
                 MessageMemory::kConnectionDivisor, " times --max-message-mb, found ",
                 options.message_memory_bytes >> 20);
  }
  at_least("--max-connections", options.max_connections, 1);
  at_least("--max-calls-per-connection", options.max_calls_per_connection, 1);
  at_least("--max-queued", options.max_queued, 1);
  at_least("--max-queued-per-client", options.max_queued_per_client, 1);
  at_least("--max-running", options.max_running, 1);
  at_least("--max-choices", options.max_choices, 1);
  at_least("--step-tokens", options.step_tokens, 1);
  at_least("--prefix-cache", options.max_prefixes, 0);
  at_least("--max-prompt-tokens", options.max_prompt_tokens, 0);
  at_least("--max-tokens", options.max_tokens, 1);
  at_least("--max-adapters", options.max_adapters, 1);
  at_least("--max-adapter-entries", options.max_adapter_entries, 1);
  at_least("--metrics-max-adapters", options.metrics_max_adapters, 0);
  if (options.keepalive < absl::Seconds(1)) problems.Add("--keepalive: expected at least 1 second");
  if (options.drain_timeout < absl::ZeroDuration()) problems.Add("--drain-timeout: is negative");
  if (options.drain_delay < absl::ZeroDuration()) problems.Add("--drain-delay: is negative");
}

}  // namespace

absl::StatusOr<NamedAdapter> ParseNamedAdapter(std::string_view text) {
  const size_t equals = text.find('=');
  if (equals == std::string_view::npos || equals == 0 || equals + 1 == text.size()) {
    return absl::InvalidArgumentError(StrCat("expected NAME=PATH, found '", text, "'"));
  }
  return NamedAdapter{std::string(text.substr(0, equals)), std::string(text.substr(equals + 1))};
}

absl::StatusOr<DType> ParseResidentDType(std::string_view name) {
  for (const auto& [known, dtype] : kResidentDTypes) {
    if (known == name) return dtype;
  }
  return absl::InvalidArgumentError(
      StrCat("expected float32, bfloat16 or float16, found '", name, "'"));
}

std::string_view ResidentDTypeName(DType dtype) {
  for (const auto& [name, known] : kResidentDTypes) {
    if (known == dtype) return name;
  }
  return DTypeName(dtype);
}

absl::StatusOr<bool> IsLocalAddress(std::string_view listen) {
  if (listen.starts_with(kUnixPrefix)) {
    const size_t length = listen.size() - kUnixPrefix.size();
    if (length == 0 || length >= sizeof(sockaddr_un::sun_path)) {
      return absl::InvalidArgumentError(StrCat("a socket's path has 1 to ",
                                               sizeof(sockaddr_un::sun_path) - 1, " bytes, '",
                                               listen, "' has ", length));
    }
    return true;
  }
  const size_t colon = listen.rfind(':');
  int port = -1;
  if (colon == std::string_view::npos || colon == 0 || listen.find('/') != std::string_view::npos ||
      !absl::SimpleAtoi(ToAbsl(listen.substr(colon + 1)), &port) || port < 0 || port > 65535) {
    return absl::InvalidArgumentError(
        StrCat("expected HOST:PORT, as in 127.0.0.1:50051, a port alone, or unix:PATH; found '",
               listen, "'"));
  }
  std::string_view host = listen.substr(0, colon);
  const bool bracketed = host.starts_with('[') && host.ends_with(']');
  if (bracketed) host = host.substr(1, host.size() - 2);
  if (!bracketed && host.find(':') != std::string_view::npos) {
    return absl::InvalidArgumentError(
        StrCat("an IPv6 host needs brackets, as in [::1]:50051; found '", listen, "'"));
  }
  return IsLoopbackHost(std::string(host));
}

absl::Status ValidateValues(const ServerOptions& options) {
  ProblemList problems;
  ValidateAddresses(options, problems);
  ValidateSecurity(options, problems);
  ValidateAdapters(options, problems);
  ValidateLimits(options, problems);
  ValidateValues(options.lifecycle, problems);
  return problems.ToStatus(absl::StatusCode::kInvalidArgument, "bad flags");
}

absl::Status CheckPaths(const ServerOptions& options) {
  std::error_code error;
  if (!fs::exists(options.model, error)) {
    return absl::NotFoundError(
        StrCat("model ", options.model,
               " does not exist: expected the path of a Hugging Face folder, or of a .gguf file"));
  }
  if (!options.chat_template.empty() && !fs::is_regular_file(options.chat_template, error)) {
    return absl::NotFoundError(
        StrCat("chat template ", options.chat_template, " does not exist or is not a file"));
  }
  for (const std::string& root : options.adapter_roots) {
    SHIRA_RETURN_IF_ERROR(ExpectFolder("adapter root", root));
  }
  for (const NamedAdapter& adapter : options.adapters) {
    if (!fs::is_regular_file(adapter.path, error)) {
      SHIRA_RETURN_IF_ERROR(ExpectFolder(StrCat("adapter ", adapter.name, ":"), adapter.path));
    }
  }
  for (const std::string& port_file : {options.port_file, options.admin_port_file}) {
    if (port_file.empty()) continue;
    const fs::path folder = fs::absolute(port_file, error).parent_path();
    SHIRA_RETURN_IF_ERROR(ExpectFolder("the port file's folder", folder.native()));
  }
  return CheckPaths(options.lifecycle);
}

}  // namespace shira
