// File: client/error_info.h
//
// What a shira server says about an error beyond its code and message. An absl::Status that
// shira::Client returns carries the google.rpc details of the gRPC status as payloads, under their
// type URLs; this reads the two kinds that the server sends.
//
//   auto answer = client.Generate(request);
//   if (auto info = shira::GetErrorInfo(answer.status()); info && info->reason == "QUEUE_FULL") {
//     absl::SleepFor(info->retry_delay.value_or(absl::Seconds(1)));
//   }

#ifndef SHIRA_CLIENT_ERROR_INFO_H_
#define SHIRA_CLIENT_ERROR_INFO_H_

#include <map>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace shira {

struct ErrorInfo {
  // "shira" for errors of this API.
  std::string domain;
  // UPPER_SNAKE_CASE.
  std::string reason;
  // Names the subject of the error.
  std::map<std::string, std::string> metadata;
  // When to try again (google.rpc.RetryInfo), if the server said so.
  std::optional<absl::Duration> retry_delay;
};

// nullopt when the status is OK, was made on this side of the wire (no connection, deadline,
// cancelled), or its details are damaged.
std::optional<ErrorInfo> GetErrorInfo(const absl::Status& status);

}  // namespace shira

#endif  // SHIRA_CLIENT_ERROR_INFO_H_
