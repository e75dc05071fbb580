#include "client/retry_policy.h"

#include <algorithm>
#include <cstdint>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"

namespace shira {
namespace {

// The idempotent calls. A service without a method means all of its methods.
constexpr char kRepeatable[] = R"({"service": "shira.v1.Inference"},
  {"service": "shira.v1.Operations"},
  {"service": "shira.v1.AdapterAdmin", "method": "ListAdapters"},
  {"service": "shira.v1.AdapterAdmin", "method": "GetAdapter"},
  {"service": "shira.v1.AdapterAdmin", "method": "ListAliases"},
  {"service": "shira.v1.AdapterAdmin", "method": "GetResidentState"})";

std::string Seconds(absl::Duration duration) {
  const int64_t ms = std::max<int64_t>(1, absl::ToInt64Milliseconds(duration));
  return absl::StrCat("\"", ms / 1000, ".", absl::Dec(ms % 1000, absl::kZeroPad3), "s\"");
}

}  // namespace

std::string RetryServiceConfig(const RetryOptions& options) {
  if (options.max_attempts < 2) return "{}";
  return absl::StrCat(R"({"methodConfig": [{"name": [)", kRepeatable,
                      R"(], "retryPolicy": {"maxAttempts": )", options.max_attempts,
                      R"(, "initialBackoff": )", Seconds(options.initial_backoff),
                      R"(, "maxBackoff": )", Seconds(options.max_backoff),
                      R"(, "backoffMultiplier": 2, "retryableStatusCodes": ["UNAVAILABLE"]}}]})");
}

}  // namespace shira
