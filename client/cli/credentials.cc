#include "client/cli/credentials.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "client/tls.h"

namespace shira::cli {
namespace {

absl::StatusOr<std::string> ReadToken(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream content;
  if (file) content << file.rdbuf();
  if (!file) return absl::NotFoundError(absl::StrCat(path, ": ", std::strerror(errno)));
  const std::string token(absl::StripAsciiWhitespace(content.str()));
  const bool printable = std::all_of(token.begin(), token.end(), [](char c) {
    return absl::ascii_isgraph(static_cast<unsigned char>(c));
  });
  if (token.empty() || !printable)
    return absl::InvalidArgumentError(absl::StrCat(path, " does not hold one token"));
  return token;
}

}  // namespace

bool IsOnThisMachine(absl::string_view server) {
  if (absl::StartsWith(server, "unix:")) return true;
  return absl::StartsWith(server, "localhost:") || server == "localhost" ||
         absl::StartsWith(server, "127.") || absl::StartsWith(server, "[::1]");
}

absl::StatusOr<ClientOptions> MakeClientOptions(const std::string& server,
                                                const CredentialOptions& options) {
  ClientOptions client{.address = server};
  if (options.tls || !options.tls_ca.empty() || !options.tls_cert.empty() ||
      !options.tls_key.empty()) {
    auto credentials = TlsCredentials({.ca_file = options.tls_ca,
                                       .certificate_file = options.tls_cert,
                                       .key_file = options.tls_key});
    if (!credentials.ok()) return credentials.status();
    client.credentials = *std::move(credentials);
  }
  client.token = options.token;
  if (!options.token_file.empty()) {
    absl::StatusOr<std::string> token = ReadToken(options.token_file);
    if (!token.ok()) return token.status();
    client.token = *std::move(token);
  }
  if (!client.token.empty() && client.credentials == nullptr && !options.insecure_token &&
      !IsOnThisMachine(server)) {
    return absl::FailedPreconditionError(absl::StrCat(
        "The token would be sent to ", server,
        " unencrypted: use --tls or --tls-ca, or pass --insecure-token if every machine "
        "on the way is trusted"));
  }
  return client;
}

}  // namespace shira::cli
