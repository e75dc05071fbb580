#include "bench/peak.h"

#include <atomic>
#include <cstdint>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "bench/peak.cc"
#include <hwy/foreach_target.h>  // IWYU pragma: keep
// After foreach_target.h.
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace shira::bench::HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;
using Tag = hn::CappedTag<float, 16>;

constexpr int kChains = 12;  // more than latency times units, and no more than registers
constexpr int64_t kSteps = 1 << 20;

HWY_ATTR float MultiplyAdds() {
  const Tag d;
  hn::Vec<Tag> sums[kChains];
  HWY_UNROLL(16)
  for (int i = 0; i < kChains; ++i) sums[i] = hn::Set(d, static_cast<float>(i));
  const auto factor = hn::Set(d, 0.5f);
  const auto term = hn::Set(d, 0.25f);
  for (int64_t step = 0; step < kSteps; ++step) {
    HWY_UNROLL(16)
    for (int i = 0; i < kChains; ++i) sums[i] = hn::MulAdd(sums[i], factor, term);
  }
  HWY_UNROLL(16)
  for (int i = 1; i < kChains; ++i) sums[0] = hn::Add(sums[0], sums[i]);
  return hn::GetLane(sums[0]);
}

HWY_ATTR double MultiplyAddsFlops() {
  return 2.0 * kChains * kSteps * static_cast<double>(hn::Lanes(Tag()));
}

// Two vectors at a time; `bytes` is a multiple of 128 or the rest is left out.
HWY_ATTR uint64_t Read(const std::byte* memory, int64_t bytes) {
  const hn::CappedTag<uint64_t, 8> d;
  auto a = hn::Zero(d), b = a;
  const uint64_t* words = reinterpret_cast<const uint64_t*>(memory);
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  for (int64_t i = 0; i + 2 * lanes <= bytes / 8; i += 2 * lanes) {
    a = hn::Or(a, hn::LoadU(d, words + i));
    b = hn::Or(b, hn::LoadU(d, words + i + lanes));
  }
  return hn::GetLane(hn::Or(a, b));
}

}  // namespace
}  // namespace shira::bench::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace shira::bench {
namespace {

HWY_EXPORT(MultiplyAdds);
HWY_EXPORT(MultiplyAddsFlops);
HWY_EXPORT(Read);

std::atomic<uint64_t> sink;  // or the compiler would drop the loops

}  // namespace

Workload MultiplyAddProbe(const ParallelFor& parallel_for, int64_t ranges) {
  return {.prepare = nullptr, .work = [=] {
            parallel_for(ranges, [](int64_t begin, int64_t end) {
              for (; begin < end; ++begin) {
                sink += static_cast<uint64_t>(HWY_DYNAMIC_DISPATCH(MultiplyAdds)());
              }
            });
          }};
}

double MultiplyAddProbeFlops(int64_t ranges) {
  return static_cast<double>(ranges) * HWY_DYNAMIC_DISPATCH(MultiplyAddsFlops)();
}

Workload ReadProbe(const ParallelFor& parallel_for, absl::Span<const std::byte> memory) {
  return {
      .prepare = nullptr, .work = [=] {
        constexpr int64_t kUnit = 4096;
        parallel_for(static_cast<int64_t>(memory.size()) / kUnit, [&](int64_t begin, int64_t end) {
          sink += HWY_DYNAMIC_DISPATCH(Read)(memory.data() + begin * kUnit, (end - begin) * kUnit);
        });
      }};
}

}  // namespace shira::bench
#endif  // HWY_ONCE
