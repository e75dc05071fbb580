// File: server/access/method_access.h
//
// Which role each method of the server needs: one table. A method that is not in it cannot be
// called at all, and fails a test that walks the service descriptors.

#ifndef SHIRA_SERVER_ACCESS_METHOD_ACCESS_H_
#define SHIRA_SERVER_ACCESS_METHOD_ACCESS_H_

#include <optional>
#include <string_view>

#include "absl/types/span.h"
#include "server/access/role.h"

namespace shira {

struct MethodAccess {
  std::string_view method;  // gRPC's "/package.Service/Method", or a path of HTTP's
  // Any of these is enough. Empty: no credentials are needed.
  RoleSet roles;
};

// Every method that can be called.
absl::Span<const MethodAccess> MethodAccessTable();

// nullopt: it is not in the table.
std::optional<RoleSet> RolesFor(std::string_view method);

}  // namespace shira

#endif  // SHIRA_SERVER_ACCESS_METHOD_ACCESS_H_
