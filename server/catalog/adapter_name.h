// File: server/catalog/adapter_name.h
//
// The rule for the names of adapters and aliases, and how one version of an adapter is named, as
// the API states it (proto/shira/v1/adapter_admin.proto).

#ifndef SHIRA_SERVER_CATALOG_ADAPTER_NAME_H_
#define SHIRA_SERVER_CATALOG_ADAPTER_NAME_H_

#include <compare>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace shira {

inline constexpr size_t kMaxAdapterNameLength = 128;

// How requests name the weights without any adapter; no adapter can have this name.
inline constexpr std::string_view kBaseName = "base";

// INVALID_ARGUMENT, with the rule, unless `name` has 1 to 128 characters out of ASCII letters,
// digits, '.', '_', '-' and '/', begins with a letter or a digit, and is not kBaseName.
absl::Status ValidateAdapterName(std::string_view name);

// One version of an adapter.
struct AdapterVersion {
  std::string name;
  int64_t version = 0;

  auto operator<=>(const AdapterVersion&) const = default;
  // "name@version"
  std::string ToString() const;
};

// What a client calls an adapter: by name, or "name@version".
struct AdapterReference {
  std::string name;
  std::optional<int64_t> version;  // nullopt: the newest
};

// INVALID_ARGUMENT unless what follows the '@', if there is one, is a positive number. The name is
// not checked: an unknown one is not found.
absl::StatusOr<AdapterReference> ParseAdapterReference(std::string_view text);

}  // namespace shira

#endif  // SHIRA_SERVER_CATALOG_ADAPTER_NAME_H_
