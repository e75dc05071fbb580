// File: server/grpc/port_credentials.h
//
// What gRPC needs to accept connections and calls on a port: plain text or TLS, and the check of
// every call before it reaches a service: who calls, and how large the metadata is. The check is
// part of the transport, so it holds for every method of every service, those of gRPC included. A
// call that it refuses has a status without details, since gRPC sends none from here.

#ifndef SHIRA_SERVER_GRPC_PORT_CREDENTIALS_H_
#define SHIRA_SERVER_GRPC_PORT_CREDENTIALS_H_

#include <grpcpp/security/server_credentials.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>

#include "absl/status/status.h"
#include "server/access/access_control.h"
#include "server/network/tls_files.h"

namespace shira {

// Called for every call that is refused, on gRPC's threads.
using RefusalObserver = std::function<void(std::string_view method, const absl::Status& status)>;

struct CallCheckOptions {
  const AccessControl& access;  // must outlive the server
  // Of one call, as HTTP/2 counts; beyond it, RESOURCE_EXHAUSTED.
  int64_t max_metadata_bytes = int64_t{16} << 10;
  RefusalObserver on_refused;
};

std::shared_ptr<grpc::ServerCredentials> PlainTextCredentials(CallCheckOptions check);

// REQUIRES: CheckTlsFiles(options.files) is OK.
std::shared_ptr<grpc::ServerCredentials> TlsCredentials(const TlsOptions& options,
                                                        CallCheckOptions check);

}  // namespace shira

#endif  // SHIRA_SERVER_GRPC_PORT_CREDENTIALS_H_
