// File: server/catalog/adapter_selection.h
//
// Weighted sets of adapters: as a request names them, and as the versions that the names meant.

#ifndef SHIRA_SERVER_CATALOG_ADAPTER_SELECTION_H_
#define SHIRA_SERVER_CATALOG_ADAPTER_SELECTION_H_

#include <cstdint>
#include <string>

#include "base/sha256.h"

namespace shira {

// One adapter of a requested set: by name, by name@version, or by an alias.
struct AdapterSelectionTerm {
  std::string name;
  double weight = 1.0;

  bool operator==(const AdapterSelectionTerm&) const = default;
};

// One adapter of a state, as it was when its name was looked up.
struct AdapterRef {
  std::string name;
  int64_t version = 0;
  Sha256Digest digest;
  double weight = 1.0;

  bool operator==(const AdapterRef&) const = default;
};

}  // namespace shira

#endif  // SHIRA_SERVER_CATALOG_ADAPTER_SELECTION_H_
