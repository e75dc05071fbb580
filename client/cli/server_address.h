// File: client/cli/server_address.h
//
// What people write for the address of a server.

#ifndef SHIRA_CLIENT_CLI_SERVER_ADDRESS_H_
#define SHIRA_CLIENT_CLI_SERVER_ADDRESS_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace shira::cli {

struct ServerAddress {
  // For gRPC.
  std::string target = {};
  // The address asks for TLS ("https://").
  bool tls = false;
};

// HOST:PORT, where HOST alone means port 50051, and a port alone 127.0.0.1; an IPv6 address with or
// without brackets; either behind "http://" (plain text) or "https://" (TLS), as it is copied from
// elsewhere, with nothing but a slash behind it; or another gRPC target ("unix:PATH",
// "dns:///HOST:PORT"), which stays as it is. INVALID_ARGUMENT says what was expected.
absl::StatusOr<ServerAddress> ParseServerAddress(absl::string_view text);

}  // namespace shira::cli

#endif  // SHIRA_CLIENT_CLI_SERVER_ADDRESS_H_
