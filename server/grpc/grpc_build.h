// File: server/grpc/grpc_build.h
//
// Which gRPC this program was linked with: Debian's with our fixes, or Debian's as it is. docs/security.md says what that means.

#ifndef SHIRA_SERVER_GRPC_GRPC_BUILD_H_
#define SHIRA_SERVER_GRPC_GRPC_BUILD_H_

#include <string>
#include <vector>

namespace shira {

struct GrpcBuild {
  std::string version;             // as gRPC says itself, such as "1.51.1"
  std::vector<std::string> fixes;  // names of the files of cmake/patches/ that are in it, sorted
};

// What the library itself says: the fixes are a string in the library that they were applied to.
GrpcBuild LinkedGrpc();

// One line for people: the version and the fixes.
std::string Describe(const GrpcBuild& build);

// A warning for the operator of a server that can be reached from other machines; empty if there
// is none.
std::string RiskOf(const GrpcBuild& build);

}  // namespace shira

#endif  // SHIRA_SERVER_GRPC_GRPC_BUILD_H_
