// File: client/cli/server_status.h
//
// What `shira status` and `shira top` say of GetServerStatus.

#ifndef SHIRA_CLIENT_CLI_SERVER_STATUS_H_
#define SHIRA_CLIENT_CLI_SERVER_STATUS_H_

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "client/cli/json_output.h"
#include "shira/v1/operations.pb.h"

namespace shira::cli {

// Per second, between two answers of one server.
struct ServerRates {
  double requests = 0;  // that ended
  double prompt_tokens = 0;
  double generated_tokens = 0;
  double switches = 0;
  double drafted_tokens = 0;
  double accepted_tokens = 0;  // of these
  double switch_share = 0;     // of the time, that went into switches
};

// nullopt if the two are of different runs of the server, or no time has passed between them.
std::optional<ServerRates> RatesBetween(const v1::GetServerStatusResponse& before,
                                        const v1::GetServerStatusResponse& after);

// "SERVING" for SERVER_STATE_SERVING and so on.
std::string ServerStateName(v1::ServerState state);

Json ToJson(const v1::GetServerStatusResponse& status);
Json ToJson(const ServerRates& rates);

// Names and values of one moment, for FormatFields().
std::vector<std::pair<std::string, std::string>> StatusFields(
    const v1::GetServerStatusResponse& status);

// A screen of `shira top`, which ends with a line end. Without rates: the first.
std::string FormatTop(const v1::GetServerStatusResponse& status,
                      const std::optional<ServerRates>& rates);

}  // namespace shira::cli

#endif  // SHIRA_CLIENT_CLI_SERVER_STATUS_H_
