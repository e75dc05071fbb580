// File: server/logging/log_event.h
//
// Structured lines: an event and its fields.

#ifndef SHIRA_SERVER_LOGGING_LOG_EVENT_H_
#define SHIRA_SERVER_LOGGING_LOG_EVENT_H_

#include <spdlog/common.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>

#include "absl/types/span.h"

namespace shira {

struct LogField {
  std::string name;  // snake_case, with its unit: "queue_ms"
  std::variant<std::string, int64_t, double> value;
};

enum class LogFormat { kText, kJson };

// What LogEvent() makes; until it is set, text. Thread-safe.
void SetLogFormat(LogFormat format);
LogFormat GetLogFormat();

// Logs one line. Text in fields may be anything: it cannot break the line or look like another
// field.
void LogEvent(spdlog::level::level_enum level, std::string_view event,
              absl::Span<const LogField> fields);

// "call method=/a/B status=OK"; text with anything but plain characters in it is quoted and
// escaped.
std::string FormatEventAsText(std::string_view event, absl::Span<const LogField> fields);

// Members of a JSON object, without its braces: "event":"call","method":"/a/B".
std::string FormatEventAsJson(std::string_view event, absl::Span<const LogField> fields);

// Precedes the text of a line that is made of JSON members already.
inline constexpr char kJsonMembersMark = '\x1e';

}  // namespace shira

#endif  // SHIRA_SERVER_LOGGING_LOG_EVENT_H_
