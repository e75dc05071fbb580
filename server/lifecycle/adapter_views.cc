#include "server/lifecycle/adapter_views.h"

#include "adapters/sparse_adapter.h"
#include "server/residency/memory_charge.h"

namespace shira {

std::optional<AdapterInfo> AdapterViews::Get(std::string_view name) const {
  const std::optional<Catalog::Entry> entry = catalog_.Get(name);
  if (!entry.has_value()) return std::nullopt;
  return InfoOf(*entry);
}

std::vector<AdapterInfo> AdapterViews::List() const {
  const StateKey resident = engine_.resident()->key;
  std::vector<AdapterInfo> infos;
  for (const Catalog::Entry& entry : catalog_.List()) infos.push_back(InfoOf(entry, resident));
  return infos;
}

AdapterInfo AdapterViews::InfoOf(const Catalog::Entry& entry) const {
  return InfoOf(entry, engine_.resident()->key);
}

AdapterMemory::Kept AdapterViews::KeptOf(const Catalog::Entry& entry) const {
  const Sha256Digest& digest = entry.info.adapter->digest;
  const absl::StatusOr<StateKey> own_state = StateKey::Create({{digest, 1.0}});
  return own_state.ok() ? memory_.KeptOf(digest, *own_state) : AdapterMemory::Kept();
}

bool AdapterViews::IsInMemory(const Catalog::Entry& entry) const {
  return entry.held != nullptr || (entry.info.adapter != nullptr && KeptOf(entry).state);
}

AdapterInfo AdapterViews::InfoOf(const Catalog::Entry& entry, const StateKey& resident) const {
  AdapterInfo info = entry.info;
  if (info.adapter == nullptr) return info;
  const AdapterMemory::Kept kept = KeptOf(entry);
  info.memory_bytes = kept.bytes;
  if (entry.held != nullptr) {
    const MemoryParts parts = PartsOf(*entry.held);
    info.memory_bytes += kept.state ? parts.own_bytes : parts.full_bytes();
  }
  info.residency = resident.Contains(info.adapter->digest) ? AdapterResidency::kFused
                   : kept.state || entry.held != nullptr   ? AdapterResidency::kInMemory
                                                           : AdapterResidency::kOnDisk;
  return info;
}

}  // namespace shira
