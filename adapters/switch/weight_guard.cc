#include "adapters/switch/weight_guard.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "absl/time/clock.h"
#include "absl/types/span.h"
#include "base/steady_clock.h"
#include "base/steady_wait.h"

namespace shira {
namespace {

constexpr int64_t kSliceBytes = int64_t{1} << 20;
constexpr int kLowestPriority = 19;

int64_t RowsPerSlice(const ParameterShape& parameter, size_t element_bytes) {
  const int64_t row_bytes = parameter.cols * static_cast<int64_t>(element_bytes);
  return std::max<int64_t>(1, kSliceBytes / row_bytes);
}

int64_t SlicesOf(const ParameterMap& map) {
  int64_t slices = 0;
  for (const ParameterShape& parameter : map.parameters()) {
    const int64_t rows = RowsPerSlice(parameter, map.element_bytes());
    slices += (parameter.rows + rows - 1) / rows;
  }
  return slices;
}

}  // namespace

WeightGuard::~WeightGuard() { Stop(); }

void WeightGuard::Stop() {
  {
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
  }
  if (thread_.joinable()) thread_.join();
}

void WeightGuard::Start(Options options) {
  on_change_ = std::move(options.on_change);
  if (options.interval <= absl::ZeroDuration()) return;
  thread_ = std::thread([this, interval = options.interval] { Run(interval); });
}

void WeightGuard::Run(absl::Duration interval) {
  // On Linux a thread has a priority of its own. Where it can't be lowered, the pauses remain.
  setpriority(PRIO_PROCESS, static_cast<id_t>(gettid()), kLowestPriority);
  const absl::Span<const ParameterShape> parameters = engine_.parameters().parameters();
  const absl::Duration pause = interval / std::max<int64_t>(1, SlicesOf(engine_.parameters()));
  while (true) {
    for (size_t i = 0; i < parameters.size(); ++i) {
      if (!Check(static_cast<int64_t>(i), pause)) AddDamaged({parameters[i].name});
      if (!Pause(absl::ZeroDuration())) return;
    }
    absl::MutexLock lock(&mutex_);
    integrity_.last_verified = absl::Now();
    ++integrity_.passes;
  }
}

bool WeightGuard::Check(int64_t parameter, absl::Duration pause) {
  const ParameterShape& resident = engine_.parameters().parameters()[parameter];
  const size_t row_bytes = resident.cols * engine_.parameters().element_bytes();
  const int64_t step = RowsPerSlice(resident, engine_.parameters().element_bytes());
  std::vector<std::byte> slice(std::min(step, resident.rows) * row_bytes);
  Sha256 hash;
  // Each slice may be of another state: with the originals put back all are of the base.
  for (int64_t row = 0; row < resident.rows; row += step) {
    const int64_t end = std::min(row + step, resident.rows);
    const auto bytes = absl::MakeSpan(slice).first((end - row) * row_bytes);
    if (!engine_.ReadPristine(parameter, row, end, bytes).ok()) return false;
    hash.Update(bytes);
    if (!Pause(pause)) return true;
  }
  return hash.Finish() == engine_.base_hash(parameter);
}

bool WeightGuard::Pause(absl::Duration pause) {
  absl::MutexLock lock(&mutex_);
  AwaitUntil(mutex_, absl::Condition(&stopping_), SteadyNow() + pause);
  return !stopping_;
}

void WeightGuard::AddDamaged(const std::vector<std::string>& names) {
  std::vector<std::string> damaged;
  {
    absl::MutexLock lock(&mutex_);
    std::vector<std::string>& known = integrity_.damaged;
    const size_t before = known.size();
    for (const std::string& name : names) {
      if (std::find(known.begin(), known.end(), name) == known.end()) known.push_back(name);
    }
    if (known.size() == before) return;
    damaged = known;
  }
  if (on_change_) on_change_(damaged);
}

void WeightGuard::Report(const VerifyReport& report) {
  std::vector<std::string> damaged;
  for (const ParameterHashes& hashes : report.parameters) {
    if (hashes.resident != hashes.expected) damaged.push_back(hashes.name);
  }
  bool recovered = false;
  {
    absl::MutexLock lock(&mutex_);
    integrity_.last_verified = absl::Now();
    if (damaged.empty()) recovered = !std::exchange(integrity_.damaged, {}).empty();
  }
  if (!damaged.empty()) AddDamaged(damaged);
  if (recovered && on_change_) on_change_({});
}

WeightIntegrity WeightGuard::integrity() const {
  absl::MutexLock lock(&mutex_);
  return integrity_;
}

}  // namespace shira
