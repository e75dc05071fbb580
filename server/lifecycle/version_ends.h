// File: server/lifecycle/version_ends.h
//
// What has to happen when a version of an adapter has ended, for any reason: its tables are freed,
// its files are deleted, and when no other version has its content, states with it are removed from
// the weights and cached prompts that used it are dropped. The catalog calls it for every version
// that it removes, so no way to end one can leave a step out.

#ifndef SHIRA_SERVER_LIFECYCLE_VERSION_ENDS_H_
#define SHIRA_SERVER_LIFECYCLE_VERSION_ENDS_H_

#include <atomic>
#include <cstdint>
#include <functional>

#include "base/sha256.h"
#include "base/steady_clock.h"
#include "server/catalog/catalog.h"
#include "server/lifecycle/departures.h"
#include "server/lifecycle/file_removal.h"
#include "server/residency/adapter_memory.h"

namespace shira {

// Thread-safe. Waits for no disk and no engine, but for Await() and Stop().
class VersionEnds {
 public:
  // `memory` and `removal` must outlive this object. `on_gone` is called for content that no version
  // has any more, on a thread for that (departures.h).
  VersionEnds(AdapterMemory& memory, FileRemoval& removal,
              std::function<void(const Sha256Digest&)> on_gone);

  void End(Catalog::Ended version);
  // The part of it that is about content. REQUIRES: no version has it.
  void Forget(const Sha256Digest& content);

  // Waits until everything that had ended before has left weights and kept prompts; false if it has
  // not at the deadline.
  bool Await(SteadyTime deadline) { return departures_.Await(deadline); }
  // Calls `on_gone` no more.
  void Stop() { departures_.Stop(); }

  int64_t versions_ended() const { return ended_; }

 private:
  AdapterMemory& memory_;
  FileRemoval& removal_;
  Departures departures_;
  std::atomic<int64_t> ended_ = 0;
};

}  // namespace shira

#endif  // SHIRA_SERVER_LIFECYCLE_VERSION_ENDS_H_
