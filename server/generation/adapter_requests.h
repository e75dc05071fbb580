// File: server/generation/adapter_requests.h
//
// Calls of the administration as every front end makes them: the life cycle's use cases, with the
// reasons that the API promises about errors, and logged.

#ifndef SHIRA_SERVER_GENERATION_ADAPTER_REQUESTS_H_
#define SHIRA_SERVER_GENERATION_ADAPTER_REQUESTS_H_

#include <string>

#include "absl/status/statusor.h"
#include "server/lifecycle/adapter_lifecycle.h"

namespace shira {

// AdapterLifecycle::Load(). Takes as long as the disk does.
absl::StatusOr<AdapterLoadResult> LoadAdapter(AdapterLifecycle& lifecycle, const std::string& name,
                                              const std::string& path,
                                              const std::string& expected_sha256,
                                              const AdapterLoadOptions& options);
// The line of a load that succeeded.
void LogLoaded(const AdapterLoadResult& loaded);

// AdapterLifecycle::Unload(). Waits for the requests that use the adapter.
absl::Status UnloadAdapter(AdapterLifecycle& lifecycle, const std::string& name,
                           const AdapterUnloadOptions& options);

}  // namespace shira

#endif  // SHIRA_SERVER_GENERATION_ADAPTER_REQUESTS_H_
