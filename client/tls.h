// File: client/tls.h
//
// Connections over TLS, from PEM files.
//
//   absl::StatusOr<std::shared_ptr<grpc::ChannelCredentials>> tls =
//       shira::TlsCredentials({.ca_file = "/etc/shira/ca.pem"});
//   if (!tls.ok()) return tls.status();
//   shira::Client client({.address = "shira.example.org:50051", .credentials = *tls,
//                         .token = "..."});

#ifndef SHIRA_CLIENT_TLS_H_
#define SHIRA_CLIENT_TLS_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"

namespace grpc {
class ChannelCredentials;
}  // namespace grpc

namespace shira {

struct TlsClientFiles {
  // Who may sign the server's certificate. Empty: those that the system trusts.
  std::string ca_file = {};
  // What the client shows of itself: its certificate chain and its key, or both empty.
  std::string certificate_file = {};
  std::string key_file = {};
};

// NOT_FOUND or INVALID_ARGUMENT when a file cannot be read; whether it is PEM shows with the first
// call.
absl::StatusOr<std::shared_ptr<grpc::ChannelCredentials>> TlsCredentials(
    const TlsClientFiles& files);

}  // namespace shira

#endif  // SHIRA_CLIENT_TLS_H_
