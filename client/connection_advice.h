// File: client/connection_advice.h
//
// What a failed connection means, in words for people: gRPC says "Socket closed" when one side
// speaks TLS and the other does not. Not installed.

#ifndef SHIRA_CLIENT_CONNECTION_ADVICE_H_
#define SHIRA_CLIENT_CONNECTION_ADVICE_H_

#include <string>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace shira {

// What gRPC's message for a connection that failed tells of the other end.
enum class PeerTls {
  kUnknown,
  kNo,         // it answers TLS with something else
  kUntrusted,  // it has a certificate that this client does not trust
  kYes,        // it speaks TLS, and refuses this client all the same
};
PeerTls PeerTlsOf(absl::string_view message);

// Why a client with or without TLS cannot reach `address`, and what to do; `message` is what gRPC
// says of it. May connect to find out, for at most `timeout`.
std::string ConnectionAdvice(const std::string& address, bool uses_tls, absl::string_view message,
                             absl::Duration timeout);

}  // namespace shira

#endif  // SHIRA_CLIENT_CONNECTION_ADVICE_H_
