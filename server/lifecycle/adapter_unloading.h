// File: server/lifecycle/adapter_unloading.h
//
// Ending an adapter on request.

#ifndef SHIRA_SERVER_LIFECYCLE_ADAPTER_UNLOADING_H_
#define SHIRA_SERVER_LIFECYCLE_ADAPTER_UNLOADING_H_

#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "base/steady_clock.h"
#include "server/catalog/catalog.h"
#include "server/lifecycle/adapter_views.h"
#include "server/lifecycle/version_ends.h"

namespace shira {

// Thread-safe. Waits on the caller's thread.
class AdapterUnloading {
 public:
  // All of them must outlive this object.
  AdapterUnloading(Catalog& catalog, const AdapterViews& views, VersionEnds& ends)
      : catalog_(catalog), views_(views), ends_(ends) {}

  // AdapterLifecycle::Unload(), but for saving.
  absl::Status Unload(const std::string& name, SteadyTime deadline,
                      absl::FunctionRef<void(const AdapterInfo&)> on_unloading,
                      absl::FunctionRef<bool()> is_cancelled);

 private:
  Catalog& catalog_;
  const AdapterViews& views_;
  VersionEnds& ends_;
};

}  // namespace shira

#endif  // SHIRA_SERVER_LIFECYCLE_ADAPTER_UNLOADING_H_
