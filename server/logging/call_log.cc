#include "server/logging/call_log.h"

#include <vector>

#include "base/steady_clock.h"
#include "base/strings.h"
#include "server/logging/log_event.h"

namespace shira {
namespace {

constexpr size_t kMaxMessageBytes = 300;  // of an error, in the log

std::string MessageForLog(std::string_view message) {
  return message.size() <= kMaxMessageBytes ? std::string(message)
                                            : StrCat(message.substr(0, kMaxMessageBytes), "...");
}

}  // namespace

absl::Duration LogCall(spdlog::level::level_enum level, const CallRecord& record,
                       absl::StatusCode code, std::string_view reason) {
  const absl::Duration duration = SteadyNow() - record.start;
  std::vector<LogField> fields = {
      {"method", record.method},
      {"request", record.request_id},
      {"peer", record.peer},
      {"status", absl::StatusCodeToString(code)},
      {"duration_ms", absl::ToDoubleMilliseconds(duration)},
  };
  if (!record.identity.empty()) fields.push_back({"identity", record.identity});
  if (!reason.empty()) fields.push_back({"reason", std::string(reason)});
  fields.insert(fields.end(), record.details.begin(), record.details.end());
  LogEvent(level, "call", fields);
  return duration;
}

void LogRefusal(std::string_view method, const absl::Status& status) {
  LogEvent(spdlog::level::warn, "refused",
           {{"method", MessageForLog(method)},
            {"status", absl::StatusCodeToString(status.code())},
            {"reason", MessageForLog(ToStd(status.message()))}});
}

}  // namespace shira
