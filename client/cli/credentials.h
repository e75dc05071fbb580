// File: client/cli/credentials.h
//
// What the command line says about TLS and tokens, as options of a client.

#ifndef SHIRA_CLIENT_CLI_CREDENTIALS_H_
#define SHIRA_CLIENT_CLI_CREDENTIALS_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "client/client.h"

namespace shira::cli {

struct CredentialOptions {
  bool tls = false;  // the files below imply it
  std::string tls_ca;
  std::string tls_cert;
  std::string tls_key;
  // Holds the token, which is never on the command line: every user of the machine can read that.
  std::string token_file;
  std::string token;  // from the environment; the file wins
  bool insecure_token = false;
};

// Errors of TlsCredentials(). INVALID_ARGUMENT for a file that holds no token; FAILED_PRECONDITION
// for a token that would go over the network in plain text.
absl::StatusOr<ClientOptions> MakeClientOptions(const std::string& server,
                                                const CredentialOptions& options);

// Whether a gRPC target surely is on this machine.
bool IsOnThisMachine(absl::string_view server);

}  // namespace shira::cli

#endif  // SHIRA_CLIENT_CLI_CREDENTIALS_H_
