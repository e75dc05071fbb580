#include "client/cli/format.h"

#include <cmath>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "absl/time/time.h"

namespace shira::cli {
namespace {

std::string EnumSuffix(const std::string& name, absl::string_view prefix, int value) {
  return name.empty() ? absl::StrCat(value) : std::string(absl::StripPrefix(name, prefix));
}

}  // namespace

absl::Duration ToDuration(const google::protobuf::Duration& duration) {
  return absl::Seconds(duration.seconds()) + absl::Nanoseconds(duration.nanos());
}

std::string FormatTimeSpan(absl::Duration duration) {
  if (duration == absl::ZeroDuration()) return "0 ms";
  const double ms = absl::ToDoubleMilliseconds(duration);
  if (ms < 999.5) return absl::StrFormat("%.3g ms", ms);
  const double s = absl::ToDoubleSeconds(duration);
  if (s < 9.995) return absl::StrFormat("%.2f s", s);
  if (s < 59.95) return absl::StrFormat("%.1f s", s);
  const int64_t seconds = std::llround(s);
  if (seconds < 3600) return absl::StrFormat("%d min %d s", seconds / 60, seconds % 60);
  return absl::StrFormat("%d h %d min", seconds / 3600, seconds % 3600 / 60);
}

std::string ShortDigest(absl::string_view sha256) { return std::string(sha256.substr(0, 12)); }

std::string FormatAdapter(const v1::AdapterIdentity& adapter) {
  std::string text = absl::StrCat(adapter.name(), " v", adapter.version());
  if (adapter.weight() != 1) absl::StrAppend(&text, " (weight ", adapter.weight(), ")");
  return text;
}

std::string StateName(v1::AdapterState state) {
  return EnumSuffix(v1::AdapterState_Name(state), "ADAPTER_STATE_", state);
}

std::string ResidencyName(v1::AdapterResidency residency) {
  return EnumSuffix(v1::AdapterResidency_Name(residency), "ADAPTER_RESIDENCY_", residency);
}

}  // namespace shira::cli
