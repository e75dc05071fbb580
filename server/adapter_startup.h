// File: server/adapter_startup.h
//
// The adapters that a server has when it begins to serve: what the state file says, then what the
// flags name, then what lies in the adapter folders.

#ifndef SHIRA_SERVER_ADAPTER_STARTUP_H_
#define SHIRA_SERVER_ADAPTER_STARTUP_H_

#include "absl/status/status.h"
#include "absl/synchronization/notification.h"
#include "server/lifecycle/adapter_lifecycle.h"
#include "server/server_options.h"

namespace shira {

// What cannot be restored, or lies in a folder and cannot be loaded, is logged and skipped. An
// error for an adapter that a flag names, and CANCELLED when `stop` was notified meanwhile.
absl::Status LoadStartupAdapters(const ServerOptions& options, AdapterLifecycle& lifecycle,
                                 const absl::Notification& stop);

}  // namespace shira

#endif  // SHIRA_SERVER_ADAPTER_STARTUP_H_
