#include "adapters/switch/fusion_thinning.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace shira {
namespace {

// Output number `n` of SplitMix64 (Steele, Lea and Flood 2014) that starts at `key`: its state
// advances by a constant, so any output can be computed by itself.
uint64_t SplitMix64(uint64_t key, uint64_t n) {
  uint64_t z = key + (n + 1) * 0x9E3779B97F4A7C15;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
  return z ^ (z >> 31);
}

}  // namespace

KeepMask KeepLargest(absl::Span<const float> values, double density) {
  const auto kept = static_cast<size_t>(std::floor(density * static_cast<double>(values.size())));
  if (kept >= values.size()) return KeepMask(values.size(), 1);
  std::vector<uint32_t> order(values.size());
  std::iota(order.begin(), order.end(), 0);
  std::nth_element(order.begin(), order.begin() + kept, order.end(), [&](uint32_t a, uint32_t b) {
    const float magnitude_a = std::abs(values[a]);
    const float magnitude_b = std::abs(values[b]);
    return magnitude_a != magnitude_b ? magnitude_a > magnitude_b : a < b;
  });
  KeepMask keep(values.size(), 0);
  for (size_t i = 0; i < kept; ++i) keep[order[i]] = 1;
  return keep;
}

KeepMask KeepRandom(const IndexTable& table, double density, uint64_t seed,
                    const Sha256Digest& adapter, std::string_view parameter) {
  const Sha256Digest digest =
      Sha256().UpdateU64(seed).Update(adapter.Hex()).Update(parameter).Finish();
  uint64_t key = 0;
  for (int i = 7; i >= 0; --i) key = key << 8 | digest.bytes[i];
  KeepMask keep(table.entries());
  table.ForEach([&](int64_t entry, int64_t position) {
    const uint64_t draw = SplitMix64(key, static_cast<uint64_t>(position));
    keep[entry] = static_cast<double>(draw >> 11) * 0x1p-53 < density;
  });
  return keep;
}

}  // namespace shira
