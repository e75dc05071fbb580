// File: server/lifecycle/adapter_scan.h
//
// What lies in a folder of adapters:
//
//   DIR/tone/          an adapter's folder, named "tone"
//   DIR/terse.shira    a packed file, named "terse"
//
// Everything else is left alone: other files, and what begins with a dot.

#ifndef SHIRA_SERVER_LIFECYCLE_ADAPTER_SCAN_H_
#define SHIRA_SERVER_LIFECYCLE_ADAPTER_SCAN_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace shira {

struct AdapterScan {
  struct Found {
    std::string name;
    std::string path;  // below the folder
  };
  std::vector<Found> found;  // by name, no name twice
  // What cannot be loaded under its name: one that is no adapter's name, or that another has.
  std::vector<std::string> problems;
};

// Errors of the file system, with the path.
absl::StatusOr<AdapterScan> ScanForAdapters(const std::string& folder);

}  // namespace shira

#endif  // SHIRA_SERVER_LIFECYCLE_ADAPTER_SCAN_H_
