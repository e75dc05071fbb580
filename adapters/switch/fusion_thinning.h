// File: adapters/switch/fusion_thinning.h
//
// Which entries of one operand in one parameter a fusion rule keeps. Pure functions.

#ifndef SHIRA_ADAPTERS_SWITCH_FUSION_THINNING_H_
#define SHIRA_ADAPTERS_SWITCH_FUSION_THINNING_H_

#include <cstdint>
#include <string_view>
#include <vector>

#include "absl/types/span.h"
#include "adapters/index_table.h"
#include "base/sha256.h"

namespace shira {

// By entry: 1 is kept, 0 is dropped.
using KeepMask = std::vector<uint8_t>;

// Keeps the floor(density * n) entries of the largest magnitude out of n (the product in fp64, as
// PEFT computes it); it may keep none. Of equal magnitudes those at the lower positions are kept.
// `density` 1 keeps all. O(n) on average.
KeepMask KeepLargest(absl::Span<const float> values, double density);

// Keeps each entry with probability `density`, independently. Whether it does depends on nothing
// but the arguments and the entry's flat position p (row * cols + col), so the same blend drops the
// same entries on every machine, whatever the other operands are:
//
//   key  = the first 8 bytes, little-endian, of SHA-256(seed as 8 bytes little-endian, the
//          adapter's digest as 64 hexadecimal digits, the parameter's name)
//   draw = output number p (from 0) of the generator SplitMix64 that starts at `key`
//   kept iff floor(draw / 2^11) * 2^-53 < density
KeepMask KeepRandom(const IndexTable& table, double density, uint64_t seed,
                    const Sha256Digest& adapter, std::string_view parameter);

}  // namespace shira

#endif  // SHIRA_ADAPTERS_SWITCH_FUSION_THINNING_H_
