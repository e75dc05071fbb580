#include "server/lifecycle/version_ends.h"

#include <utility>

#include "server/residency/freed_memory.h"

namespace shira {

VersionEnds::VersionEnds(AdapterMemory& memory, FileRemoval& removal,
                         std::function<void(const Sha256Digest&)> on_gone)
    : memory_(memory), removal_(removal), departures_(std::move(on_gone), ReturnFreedMemory) {}

void VersionEnds::End(Catalog::Ended version) {
  version.held = {};
  if (version.content.has_value()) Forget(*version.content);
  removal_.Add(version.change, version.origin.owner, std::move(version.origin.source));
  ++ended_;
}

void VersionEnds::Forget(const Sha256Digest& content) {
  memory_.Drop(content);
  departures_.Add(content);
}

}  // namespace shira
