// File: server/lifecycle/default_change.h
//
// Making a weighted set of adapters the default state, and resident in the weights.

#ifndef SHIRA_SERVER_LIFECYCLE_DEFAULT_CHANGE_H_
#define SHIRA_SERVER_LIFECYCLE_DEFAULT_CHANGE_H_

#include <memory>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/types/span.h"
#include "base/steady_clock.h"
#include "server/catalog/adapter_selection.h"
#include "server/catalog/catalog.h"
#include "server/lifecycle/lifecycle_types.h"
#include "server/residency/served_states.h"

namespace shira {

// Thread-safe. Reads, compiles and waits on the caller's thread.
class DefaultChange {
 public:
  // `catalog` and `states` must outlive this object.
  DefaultChange(Catalog& catalog, ServedStates& states, ApplyState apply)
      : catalog_(catalog), states_(states), apply_(std::move(apply)) {}

  // AdapterLifecycle::SetDefault() and MakeDefault(), but for saving. `owner`: as for ServedStates.
  absl::Status Set(absl::Span<const AdapterSelectionTerm> terms) ABSL_LOCKS_EXCLUDED(mutex_);
  DefaultChangeResult Make(absl::Span<const AdapterSelectionTerm> terms, SteadyTime deadline,
                           std::shared_ptr<const void> owner) ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  Catalog& catalog_;
  ServedStates& states_;
  const ApplyState apply_;

  absl::Mutex mutex_;
  // Two changes at once could leave one set resident and the other the default.
  bool is_changing_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace shira

#endif  // SHIRA_SERVER_LIFECYCLE_DEFAULT_CHANGE_H_
