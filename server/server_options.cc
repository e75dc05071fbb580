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
#include "server/registry/adapter_name.h"

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
  if (colon == std::string_view::npos || colon == 0 ||
      !absl::SimpleAtoi(ToAbsl(listen.substr(colon + 1)), &port) || port < 0 || port > 65535) {
    return absl::InvalidArgumentError(
        StrCat("expected HOST:PORT or unix:PATH, found '", listen, "'"));
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
  if (const absl::StatusOr<bool> local = IsLocalAddress(options.listen); !local.ok()) {
    problems.Add("--listen: ", ToStd(local.status().message()));
  } else if (!*local && !options.allow_remote) {
    problems.Add("--listen: ", options.listen,
                 " can be reached from other machines, and this server has no TLS and no "
                 "authentication yet: add --allow-remote if the network is yours alone");
  }
  std::set<std::string> names;
  for (const NamedAdapter& adapter : options.adapters) {
    if (const absl::Status status = ValidateAdapterName(adapter.name); !status.ok()) {
      problems.Add("--adapter: ", ToStd(status.message()));
    } else if (!names.insert(adapter.name).second) {
      problems.Add("--adapter: the name '", adapter.name, "' occurs twice");
    }
  }
  const auto at_least = [&](std::string_view flag, int64_t value, int64_t least) {
    if (value < least) problems.Add(flag, ": expected at least ", least, ", found ", value);
  };
  at_least("--threads", options.threads, 0);
  at_least("--max-queued", options.max_queued, 1);
  at_least("--max-running", options.max_running, 1);
  at_least("--max-choices", options.max_choices, 1);
  at_least("--step-tokens", options.step_tokens, 1);
  at_least("--prefix-cache", options.max_prefixes, 0);
  at_least("--max-tokens", options.max_tokens, 1);
  if (options.drain_timeout < absl::ZeroDuration()) problems.Add("--drain-timeout: is negative");
  return problems.ToStatus(absl::StatusCode::kInvalidArgument, "bad flags");
}

absl::Status CheckPaths(const ServerOptions& options) {
  std::error_code error;
  if (!fs::exists(options.model, error)) {
    return absl::NotFoundError(StrCat("model ", options.model, " does not exist"));
  }
  for (const std::string& root : options.adapter_roots) {
    SHIRA_RETURN_IF_ERROR(ExpectFolder("adapter root", root));
  }
  for (const NamedAdapter& adapter : options.adapters) {
    if (!fs::is_regular_file(adapter.path, error)) {
      SHIRA_RETURN_IF_ERROR(ExpectFolder(StrCat("adapter ", adapter.name, ":"), adapter.path));
    }
  }
  if (!options.port_file.empty()) {
    const fs::path folder = fs::absolute(options.port_file, error).parent_path();
    SHIRA_RETURN_IF_ERROR(ExpectFolder("the port file's folder", folder.native()));
  }
  return absl::OkStatus();
}

}  // namespace shira
