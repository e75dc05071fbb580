// File: server/lifecycle/adapter_views.h
//
// What is shown of adapters: what the catalog knows, and where their tables are.

#ifndef SHIRA_SERVER_LIFECYCLE_ADAPTER_VIEWS_H_
#define SHIRA_SERVER_LIFECYCLE_ADAPTER_VIEWS_H_

#include <optional>
#include <string_view>
#include <vector>

#include "adapters/switch/state_key.h"
#include "adapters/switch/switch_engine.h"
#include "server/catalog/adapter_info.h"
#include "server/catalog/catalog.h"
#include "server/residency/adapter_memory.h"

namespace shira {

// Thread-safe.
class AdapterViews {
 public:
  // All of them must outlive this object.
  AdapterViews(const Catalog& catalog, const AdapterMemory& memory, const SwitchEngine& engine)
      : catalog_(catalog), memory_(memory), engine_(engine) {}

  std::optional<AdapterInfo> Get(std::string_view name) const;
  // In the order of names, then versions.
  std::vector<AdapterInfo> List() const;
  AdapterInfo InfoOf(const Catalog::Entry& entry) const;
  // Whether the version's own state, or its deltas, stay or happen to be in memory.
  bool IsInMemory(const Catalog::Entry& entry) const;

 private:
  AdapterInfo InfoOf(const Catalog::Entry& entry, const StateKey& resident) const;
  AdapterMemory::Kept KeptOf(const Catalog::Entry& entry) const;

  const Catalog& catalog_;
  const AdapterMemory& memory_;
  const SwitchEngine& engine_;
};

}  // namespace shira

#endif  // SHIRA_SERVER_LIFECYCLE_ADAPTER_VIEWS_H_
