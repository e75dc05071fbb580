// File: client/retry_policy.h
//
// Which calls are made again, told to gRPC in the words of its service config. Not installed.

#ifndef SHIRA_CLIENT_RETRY_POLICY_H_
#define SHIRA_CLIENT_RETRY_POLICY_H_

#include <string>

#include "client/client.h"

namespace shira {

// JSON: a retry policy for the calls that RetryOptions speaks of.
std::string RetryServiceConfig(const RetryOptions& options);

}  // namespace shira

#endif  // SHIRA_CLIENT_RETRY_POLICY_H_
