// File: server/lifecycle_options.h
//
// What the operator can choose about the life of adapters: what is loaded at start, what survives a
// restart, uploads, and the watch over the weights. server_flags.cc fills it.

#ifndef SHIRA_SERVER_LIFECYCLE_OPTIONS_H_
#define SHIRA_SERVER_LIFECYCLE_OPTIONS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "base/problem_list.h"

namespace shira {

struct LifecycleOptions {
  // What lies in these folders is loaded before the server serves (adapter_scan.h). They are
  // adapter roots too.
  std::vector<std::string> adapter_dirs;
  std::string state_file;  // empty: nothing survives a restart
  std::string upload_dir;  // empty: no uploads
  int64_t max_upload_bytes = int64_t{1} << 30;
  int64_t upload_quota_bytes = int64_t{16} << 30;
  // Kept of each name beside the newest, if their files belong to the server.
  int64_t keep_versions = 0;
  int max_concurrent_loads = 4;    // adapters
  absl::Duration verify_interval;  // zero: the weights are verified on demand alone
};

// Adds what is wrong with the values themselves.
void ValidateValues(const LifecycleOptions& options, ProblemList& problems);

// NOT_FOUND or FAILED_PRECONDITION for a folder that is not there; what StateStore says of a state
// file that cannot be used. Writes nothing.
absl::Status CheckPaths(const LifecycleOptions& options);

}  // namespace shira

#endif  // SHIRA_SERVER_LIFECYCLE_OPTIONS_H_
