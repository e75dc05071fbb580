// File: server/registry/adapter_name.h
//
// The rule for adapter names, as the API states it (proto/shira/v1/adapter_admin.proto).

#ifndef SHIRA_SERVER_REGISTRY_ADAPTER_NAME_H_
#define SHIRA_SERVER_REGISTRY_ADAPTER_NAME_H_

#include <cstddef>
#include <string_view>

#include "absl/status/status.h"

namespace shira {

inline constexpr size_t kMaxAdapterNameLength = 128;

// How requests name the weights without any adapter; no adapter can have this name.
inline constexpr std::string_view kBaseName = "base";

// INVALID_ARGUMENT, with the rule, unless `name` has 1 to 128 characters out of ASCII letters,
// digits, '.', '_', '-' and '/', begins with a letter or a digit, and is not kBaseName.
absl::Status ValidateAdapterName(std::string_view name);

}  // namespace shira

#endif  // SHIRA_SERVER_REGISTRY_ADAPTER_NAME_H_
