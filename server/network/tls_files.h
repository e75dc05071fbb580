// File: server/network/tls_files.h
//
// The PEM files of TLS, checked before they are used: gRPC would only log a problem and then refuse
// every connection.

#ifndef SHIRA_SERVER_NETWORK_TLS_FILES_H_
#define SHIRA_SERVER_NETWORK_TLS_FILES_H_

#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace shira {

struct TlsFiles {
  std::string certificate;  // the server's chain, its own certificate first
  std::string key;
  std::string client_ca;  // empty: none
};

struct TlsOptions {
  TlsFiles files;  // read again when they change
  bool client_certificate_optional = false;
  absl::Duration reload_interval = absl::Seconds(10);  // whole seconds
};

// INVALID_ARGUMENT or NOT_FOUND names the file and what is wrong: unreadable, no PEM, a key that is
// not the certificate's, a certificate that has expired or is not valid yet.
absl::Status CheckTlsFiles(const TlsFiles& files);

}  // namespace shira

#endif  // SHIRA_SERVER_NETWORK_TLS_FILES_H_
