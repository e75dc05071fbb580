// File: server/logging/call_log.h
//
// The line that every call gets when it ends or is refused, whatever front end it came through:
//
//   call method=/shira.v1.Inference/Generate request=5f0c... peer=ipv4:10.0.0.7:41234 status=OK
//     duration_ms=84.100 identity=web adapter=tone@1 prompt_tokens=12 completion_tokens=64 ...

#ifndef SHIRA_SERVER_LOGGING_CALL_LOG_H_
#define SHIRA_SERVER_LOGGING_CALL_LOG_H_

#include <spdlog/common.h>

#include <functional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "server/logging/call_records.h"

namespace shira {

// Called once for every call that ended or was refused, on any thread.
using CallEndObserver =
    std::function<void(std::string_view method, absl::StatusCode code, absl::Duration duration)>;

// The line of a call that ends now. `reason`: of its error (error_details.h); empty: none. Messages
// may repeat what a client has sent, reasons never do. Returns how long it took.
absl::Duration LogCall(spdlog::level::level_enum level, const CallRecord& record,
                       absl::StatusCode code, std::string_view reason);

// The line of a call that was refused before a service saw it.
void LogRefusal(std::string_view method, const absl::Status& status);

}  // namespace shira

#endif  // SHIRA_SERVER_LOGGING_CALL_LOG_H_
