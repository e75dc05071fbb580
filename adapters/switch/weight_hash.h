// File: adapters/switch/weight_hash.h

#ifndef SHIRA_ADAPTERS_SWITCH_WEIGHT_HASH_H_
#define SHIRA_ADAPTERS_SWITCH_WEIGHT_HASH_H_

#include <cstdint>

#include "adapters/switch/weight_memory.h"
#include "base/sha256.h"

namespace shira {

// WeightMemory::Hash() by WeightMemory::Read(), a few rows at a time.
Sha256Digest HashByRows(const WeightMemory& memory, int64_t parameter,
                        const ElementOverlay* overlay);

}  // namespace shira

#endif  // SHIRA_ADAPTERS_SWITCH_WEIGHT_HASH_H_
