// File: server/logging/log_setup.h
//
// Where lines go and what they look like: for people,
//
//   2026-01-31T12:00:00.123+0000 info [3f2a...] adapter tone@1: loaded from /srv/tone in 8.1 ms
//   2026-01-31T12:00:00.125+0000 info call method=/shira.v1.AdapterAdmin/LoadAdapter
//   request=3f2a...
//
// or one JSON object a line, with "time", "level", "request" (where there is one) and either
// "message" or "event" and its fields.

#ifndef SHIRA_SERVER_LOGGING_LOG_SETUP_H_
#define SHIRA_SERVER_LOGGING_LOG_SETUP_H_

#include <memory>
#include <string>

namespace spdlog::sinks {
class sink;
}  // namespace spdlog::sinks

namespace shira {

struct LogOptions {
  std::string level = "info";  // or "debug", "warning", "error"
  bool json = false;
};

// Makes spdlog's default logger write to standard error. Lines are written by a thread of their
// own, and dropped rather than waited for when standard error is stuck: the engine's thread logs
// too.
void StartLogging(const LogOptions& options);

// The same with lines going elsewhere.
void StartLoggingTo(std::shared_ptr<spdlog::sinks::sink> sink, const LogOptions& options);

}  // namespace shira

#endif  // SHIRA_SERVER_LOGGING_LOG_SETUP_H_
