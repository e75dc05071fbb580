#include "server/grpc/call_metadata.h"

#include <grpc/grpc_security_constants.h>

namespace shira {
namespace {

std::string_view View(grpc::string_ref text) { return {text.data(), text.size()}; }

grpc::string_ref Ref(std::string_view text) { return {text.data(), text.size()}; }

}  // namespace

std::string_view FindOnly(const CallMetadata& metadata, std::string_view name) {
  const auto [begin, end] = metadata.equal_range(Ref(name));
  return begin != end && std::next(begin) == end ? View(begin->second) : std::string_view();
}

CallerCredentials CredentialsOf(const CallMetadata& metadata, const grpc::AuthContext& context) {
  CallerCredentials credentials;
  const auto [begin, end] = metadata.equal_range(Ref(kAuthorizationHeader));
  for (auto it = begin; it != end; ++it) credentials.authorizations.push_back(View(it->second));
  for (const char* property : {GRPC_X509_CN_PROPERTY_NAME, GRPC_X509_SAN_PROPERTY_NAME}) {
    for (const grpc::string_ref& name : context.FindPropertyValues(property)) {
      credentials.certificate_names.emplace_back(name.data(), name.size());
    }
  }
  return credentials;
}

}  // namespace shira
