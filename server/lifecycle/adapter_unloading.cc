#include "server/lifecycle/adapter_unloading.h"

#include <algorithm>

#include "absl/time/time.h"
#include "base/status_macros.h"
#include "base/strings.h"

namespace shira {
namespace {

// How often a waiting unload asks whether its caller is still there.
constexpr absl::Duration kCancellationInterval = absl::Milliseconds(50);

}  // namespace

absl::Status AdapterUnloading::Unload(const std::string& name, SteadyTime deadline,
                                      absl::FunctionRef<void(const AdapterInfo&)> on_unloading,
                                      absl::FunctionRef<bool()> is_cancelled) {
  SHIRA_ASSIGN_OR_RETURN(Catalog::Unloading unloading, catalog_.BeginUnload(name));
  for (const Catalog::Entry& entry : unloading.TakeEntries()) on_unloading(views_.InfoOf(entry));
  while (true) {
    const bool cancelled = is_cancelled();
    const SteadyTime now = SteadyNow();
    if (catalog_.AwaitAndEnd(unloading,
                             cancelled ? now : std::min(deadline, now + kCancellationInterval))) {
      break;
    }
    if (cancelled) {
      catalog_.GiveUp(unloading);
      return absl::CancelledError(
          StrCat("the caller did not wait for the requests that use adapter '", name,
                 "'; it stays loaded"));
    }
    if (SteadyNow() >= deadline) {
      return absl::DeadlineExceededError(
          StrCat("adapter '", name, "' is still used by ", catalog_.GiveUp(unloading),
                 " requests; it stays loaded: try again, or cancel them"));
    }
  }
  ends_.Await(deadline);
  return absl::OkStatus();
}

}  // namespace shira
