// File: server/catalog/adapter_info.h
//
// One version of an adapter as it is shown to others.

#ifndef SHIRA_SERVER_CATALOG_ADAPTER_INFO_H_
#define SHIRA_SERVER_CATALOG_ADAPTER_INFO_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "base/sha256.h"
#include "server/catalog/adapter_state.h"

namespace shira {

// What stays known of an adapter whose deltas are not in memory.
struct AdapterSummary {
  Sha256Digest digest;
  std::string format;
  std::string base_model;  // what the file says it was trained on; may be empty
  int64_t entries = 0;
  int64_t parameter_count = 0;
};

// A moment's view of one adapter.
struct AdapterInfo {
  std::string name;
  int64_t version = 0;  // 0 while the first version loads; never used twice for a name
  AdapterState state = AdapterState::kLoading;
  AdapterResidency residency = AdapterResidency::kOnDisk;
  std::string path;   // canonical; empty for a blend that was not saved
  std::string error;  // why it is kFailed
  bool pinned = false;
  std::vector<std::string> aliases;  // that name this version
  // nullptr unless kReady or kUnloading.
  std::shared_ptr<const AdapterSummary> adapter;
  int64_t memory_bytes =
      0;  // what is in memory of tables, deltas and own state; shared parts in full
  int64_t running_requests = 0;
  absl::Time load_time = absl::InfinitePast();
  absl::Duration load_duration;
  absl::Time last_use = absl::InfinitePast();  // InfinitePast: never
};

}  // namespace shira

#endif  // SHIRA_SERVER_CATALOG_ADAPTER_INFO_H_
