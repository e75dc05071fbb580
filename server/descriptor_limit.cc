#include "server/descriptor_limit.h"

#include <sys/resource.h>

#include <algorithm>
#include <limits>

namespace shira {
namespace {

int64_t Number(rlim_t limit) {
  constexpr auto kMax = std::numeric_limits<int64_t>::max() / 4;
  return limit == RLIM_INFINITY ? kMax : static_cast<int64_t>(std::min<rlim_t>(limit, kMax));
}

}  // namespace

int64_t DescriptorsFor(int64_t connections) { return (connections * 4 + 2) / 3; }

int64_t ConnectionsFor(int64_t descriptors) { return descriptors * 3 / 4; }

int64_t RaiseDescriptorLimit(int64_t wanted) {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return wanted;
  if (Number(limit.rlim_cur) >= wanted) return Number(limit.rlim_cur);
  const rlim_t before = limit.rlim_cur;
  limit.rlim_cur = std::min(static_cast<rlim_t>(wanted), limit.rlim_max);
  return Number(setrlimit(RLIMIT_NOFILE, &limit) == 0 ? limit.rlim_cur : before);
}

}  // namespace shira
