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

#include <cstdint>
#include <string>

#include "absl/time/time.h"

namespace shira {

struct LogOptions {
  std::string level = "info";  // or "debug", "warning", "error"
  bool json = false;
  int fd = 2;  // where lines go: standard error
};

// Makes spdlog's default logger write there. Lines are written by a thread of their own, and
// dropped rather than waited for when they are not read: the engine's thread logs too. A line says
// how many were lost.
void StartLogging(const LogOptions& options);

// Waits for as long as `timeout` until every line is written; whether that is so. Lines that come
// later are dropped.
bool StopLogging(absl::Duration timeout);

// Lines that were dropped since StartLogging().
int64_t DroppedLogLines();

}  // namespace shira

#endif  // SHIRA_SERVER_LOGGING_LOG_SETUP_H_
