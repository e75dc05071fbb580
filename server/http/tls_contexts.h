// File: server/http/tls_contexts.h
//
// OpenSSL's settings for connections over TLS, made again when the files change.

#ifndef SHIRA_SERVER_HTTP_TLS_CONTEXTS_H_
#define SHIRA_SERVER_HTTP_TLS_CONTEXTS_H_

#include <openssl/ssl.h>

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "base/sha256.h"
#include "server/network/tls_files.h"

namespace shira {

struct FreeTlsContext {
  void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
};
using TlsContext = std::unique_ptr<SSL_CTX, FreeTlsContext>;

// Thread-safe.
class TlsContexts {
 public:
  // Errors of CheckTlsFiles(), and INVALID_ARGUMENT for files that OpenSSL refuses.
  static absl::StatusOr<std::shared_ptr<TlsContexts>> Create(TlsOptions options);
  ~TlsContexts();

  // For a new connection; those that are open keep theirs.
  TlsContext Current() const ABSL_LOCKS_EXCLUDED(mutex_);

  // Looks at the files now. What is wrong with them, which then changes nothing.
  absl::Status Reload() ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  explicit TlsContexts(TlsOptions options);
  void WatchFiles() ABSL_LOCKS_EXCLUDED(mutex_);

  const TlsOptions options_;
  mutable absl::Mutex mutex_;
  TlsContext current_ ABSL_GUARDED_BY(mutex_);
  Sha256Digest files_digest_ ABSL_GUARDED_BY(mutex_);  // of the files that it was made of
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread watcher_;
};

// Common name and alternative names of the certificate that a client has shown and TLS has
// verified; none without one.
std::vector<std::string> ClientCertificateNames(const SSL* connection);

}  // namespace shira

#endif  // SHIRA_SERVER_HTTP_TLS_CONTEXTS_H_
