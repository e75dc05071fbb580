#include "client/cli/server_address.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <array>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace shira::cli {
namespace {

constexpr absl::string_view kDefaultPort = "50051";
constexpr absl::string_view kDefaultHost = "127.0.0.1";

// The schemes that gRPC resolves.
constexpr std::array<absl::string_view, 7> kTargetSchemes = {
    "unix:", "unix-abstract:", "dns:", "ipv4:", "ipv6:", "vsock:", "xds:"};

bool HasTargetScheme(absl::string_view text) {
  return std::any_of(kTargetSchemes.begin(), kTargetSchemes.end(),
                     [&](absl::string_view scheme) { return absl::StartsWith(text, scheme); });
}

absl::Status Malformed(absl::string_view text, absl::string_view why) {
  return absl::InvalidArgumentError(absl::StrCat(
      "expected HOST:PORT, as in 127.0.0.1:50051, or unix:PATH; found '", text, "', ", why));
}

bool IsPort(absl::string_view text) {
  int port = 0;
  return absl::SimpleAtoi(text, &port) && port > 0 && port <= 65535;
}

bool IsHost(absl::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
    return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '.' || c == '-' || c == '_';
  });
}

bool IsIpv6(absl::string_view text) {
  const std::string address(text.substr(0, text.find('%')));  // without its zone
  in6_addr parsed;
  return inet_pton(AF_INET6, address.c_str(), &parsed) == 1;
}

// HOST[:PORT], [IPV6][:PORT], IPV6 or PORT as HOST:PORT.
absl::StatusOr<std::string> HostAndPort(absl::string_view text) {
  if (IsPort(text)) return absl::StrCat(kDefaultHost, ":", text);
  if (!text.empty() && text.find_first_not_of("0123456789") == absl::string_view::npos)
    return Malformed(text, "which is no port");
  if (IsIpv6(text)) return absl::StrCat("[", text, "]:", kDefaultPort);
  absl::string_view host = text;
  absl::string_view port = kDefaultPort;
  const bool bracketed = absl::StartsWith(text, "[");
  const size_t host_end = bracketed ? text.find(']') + 1 : 0;
  if (const size_t colon = text.find(':', host_end); colon != absl::string_view::npos) {
    host = text.substr(0, colon);
    port = text.substr(colon + 1);
  }
  if (host.empty()) host = kDefaultHost;
  const bool is_host = bracketed
                           ? absl::EndsWith(host, "]") && IsIpv6(host.substr(1, host.size() - 2))
                           : IsHost(host);
  if (!is_host) return Malformed(text, "which names no host");
  if (!IsPort(port)) return Malformed(text, absl::StrCat("where '", port, "' is no port"));
  return absl::StrCat(host, ":", port);
}

}  // namespace

absl::StatusOr<ServerAddress> ParseServerAddress(absl::string_view text) {
  absl::string_view rest = absl::StripAsciiWhitespace(text);
  if (rest.empty()) return Malformed(text, "which is empty");
  if (HasTargetScheme(rest)) return ServerAddress{std::string(rest)};
  if (absl::StartsWith(rest, "/"))
    return Malformed(text, absl::StrCat("did you mean unix:", rest, "?"));
  const bool tls = absl::ConsumePrefix(&rest, "https://");
  if (tls || absl::ConsumePrefix(&rest, "http://")) absl::ConsumeSuffix(&rest, "/");
  if (absl::StrContains(rest, "://")) return Malformed(text, "whose scheme gRPC does not know");
  if (absl::StrContains(rest, "/")) return Malformed(text, "which has a path: gRPC has none");
  absl::StatusOr<std::string> target = HostAndPort(rest);
  if (!target.ok()) return target.status();
  return ServerAddress{*std::move(target), tls};
}

}  // namespace shira::cli
