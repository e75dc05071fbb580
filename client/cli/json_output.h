// File: client/cli/json_output.h
//
// What --json prints: the messages of the API as JSON objects. docs/cli.md describes every key.
// Durations are milliseconds, points in time are RFC 3339 in UTC, enums are their names without the
// prefix.

#ifndef SHIRA_CLIENT_CLI_JSON_OUTPUT_H_
#define SHIRA_CLIENT_CLI_JSON_OUTPUT_H_

#include <nlohmann/json.hpp>
#include <string>

#include "absl/status/status.h"
#include "client/client.h"
#include "shira/v1/adapter_admin.pb.h"
#include "shira/v1/inference.pb.h"

namespace shira::cli {

// Keys stay in the order in which they are written.
using Json = nlohmann::ordered_json;

Json ToJson(const v1::GenerateResponse& response);
Json ToJson(const v1::TokenizeResponse& response);
Json ToJson(const v1::DetokenizeResponse& response);
Json ToJson(const v1::GetModelResponse& response);
Json ToJson(const v1::Adapter& adapter);
Json ToJson(const v1::LoadAdapterResponse& response);
Json ToJson(const v1::UploadAdapterResponse& response);
Json ToJson(const v1::Alias& alias);
Json ToJson(const v1::CreateBlendResponse& response);
Json ToJson(const v1::GetAdapterResponse& response);
Json ToJson(const v1::ResidentState& state);
Json ToJson(const v1::ApplyAdapterResponse& response);
Json ToJson(const v1::RevertAdapterResponse& response);
Json ToJson(const v1::VerifyWeightsResponse& response);

// "2023-11-14T22:13:20+00:00", in UTC.
std::string Rfc3339(const google::protobuf::Timestamp& time);

// "SERVING", "NOT_SERVING" or "UNKNOWN".
std::string HealthName(HealthStatus health);

// {"error": {code, reason, message, metadata}}, and retry_after_ms when the server said when to try
// again.
Json ErrorToJson(const absl::Status& status);

}  // namespace shira::cli

#endif  // SHIRA_CLIENT_CLI_JSON_OUTPUT_H_
