// File: client/cli/adapter_names.h
//
// Every name that an adapter can be asked for by: for suggestions and completion.

#ifndef SHIRA_CLIENT_CLI_ADAPTER_NAMES_H_
#define SHIRA_CLIENT_CLI_ADAPTER_NAMES_H_

#include <string>
#include <vector>

#include "client/client.h"

namespace shira::cli {

// Names of adapters and aliases, sorted, each once. Empty when the server does not tell (its role
// for this caller does not allow it, or it does not answer in time): what this is for works without
// it too.
std::vector<std::string> AdapterNames(const Client& client, const CallOptions& options);

}  // namespace shira::cli

#endif  // SHIRA_CLIENT_CLI_ADAPTER_NAMES_H_
