#include "server/grpc/grpc_build.h"

#include <grpcpp/grpcpp.h>

#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "base/strings.h"

#ifdef SHIRA_PATCHED_GRPC
// Only the library that cmake/grpc/CMakeLists.txt makes has it: with another one this does not link.
extern "C" const char shira_grpc_patches[];
#endif

namespace shira {

GrpcBuild LinkedGrpc() {
  GrpcBuild build{.version = grpc::Version(), .fixes = {}};
#ifdef SHIRA_PATCHED_GRPC
  build.fixes = absl::StrSplit(shira_grpc_patches, ' ', absl::SkipEmpty());
#endif
  return build;
}

std::string Describe(const GrpcBuild& build) {
  return build.fixes.empty()
             ? StrCat("gRPC ", build.version, " of the system, without fixes of ours")
             : StrCat("gRPC ", build.version, " with fixes for ", absl::StrJoin(build.fixes, ", "));
}

std::string RiskOf(const GrpcBuild& build) {
  if (!build.fixes.empty()) return "";
  return StrCat(
      "gRPC ", build.version,
      " of the system has known vulnerabilities without fixes: any client that can connect, with "
      "or without a token, can crash or block this server (docs/security.md)");
}

}  // namespace shira
