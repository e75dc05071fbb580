// File: server/access/access_control.h
//
// Authenticates and authorizes every call. No gRPC here.

#ifndef SHIRA_SERVER_ACCESS_ACCESS_CONTROL_H_
#define SHIRA_SERVER_ACCESS_ACCESS_CONTROL_H_

#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "server/access/access_list.h"

namespace shira {

inline constexpr std::string_view kAuthorizationHeader = "authorization";

// The credentials that a caller sent.
struct CallerCredentials {
  // The headers of that name, "Bearer TOKEN". More than one is refused: a proxy in front of the
  // server may have checked the other one.
  std::vector<std::string_view> authorizations = {};
  // Common name and alternative names of a client certificate that TLS has verified.
  std::vector<std::string> certificate_names = {};
};

// Thread-safe.
class AccessControl {
 public:
  struct Options {
    std::string access_file = {};  // empty: no tokens
    // TLS verifies client certificates. Without an access file each of them may do everything.
    bool client_certificates = false;
    absl::Duration reload_interval = absl::Seconds(10);
  };

  // With neither a file nor certificates, every caller may do everything. Errors of ReadAccessFile().
  static absl::StatusOr<std::unique_ptr<AccessControl>> Create(Options options);
  ~AccessControl();

  // Whose credentials these are. UNAUTHENTICATED if they are unknown or ambiguous.
  absl::StatusOr<Identity> Identify(const CallerCredentials& credentials) const
      ABSL_LOCKS_EXCLUDED(mutex_);

  // Looks at the file now. What is wrong with it, which then changes nothing; OK without a file.
  absl::Status Reload() ABSL_LOCKS_EXCLUDED(mutex_);

  // Whether the call may go on.
  //   UNAUTHENTICATED    as Identify(), unless the method needs no role
  //   PERMISSION_DENIED  none of the caller's roles is enough
  //   UNIMPLEMENTED      the method is not in the table (method_access.h)
  absl::Status Check(std::string_view method, const CallerCredentials& credentials) const;

 private:
  explicit AccessControl(Options options);

  std::shared_ptr<const AccessList> list() const ABSL_LOCKS_EXCLUDED(mutex_);
  void WatchFile() ABSL_LOCKS_EXCLUDED(mutex_);

  const Options options_;

  mutable absl::Mutex mutex_;
  std::shared_ptr<const AccessList> list_ ABSL_GUARDED_BY(mutex_);  // nullptr: no file
  Sha256Digest file_digest_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread watcher_;
};

// The whole file. NOT_FOUND or PERMISSION_DENIED if it cannot be read, INVALID_ARGUMENT beyond 1
// MiB.
absl::StatusOr<std::string> ReadAccessFile(const std::string& path);

}  // namespace shira

#endif  // SHIRA_SERVER_ACCESS_ACCESS_CONTROL_H_
