// File: server/grpc/call_metadata.h
//
// What is read from a call's metadata. A header that may occur once is read by none of these when
// it occurs twice: proxies and servers that each take another one of the two could be played off
// against each other.

#ifndef SHIRA_SERVER_GRPC_CALL_METADATA_H_
#define SHIRA_SERVER_GRPC_CALL_METADATA_H_

#include <grpcpp/security/auth_context.h>
#include <grpcpp/support/string_ref.h>

#include <cstdint>
#include <map>
#include <string_view>

#include "server/access/access_control.h"

namespace shira {

// As gRPC's C++ has it.
using CallMetadata = std::multimap<grpc::string_ref, grpc::string_ref>;

// The value of a header that occurs once; else empty.
std::string_view FindOnly(const CallMetadata& metadata, std::string_view name);

// All credentials that the caller sent: every authorization header, so that the check sees
// where there are several, and the names of the client certificate. Refers to `metadata`.
CallerCredentials CredentialsOf(const CallMetadata& metadata, const grpc::AuthContext& context);

// What HTTP/2 counts for a header (RFC 7541, 4.1).
inline int64_t MetadataBytes(size_t name_bytes, size_t value_bytes) {
  return static_cast<int64_t>(name_bytes + value_bytes) + 32;
}

}  // namespace shira

#endif  // SHIRA_SERVER_GRPC_CALL_METADATA_H_
