#include "server/http/http_service.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <string_view>
#include <vector>

#include "server/access/method_access.h"

namespace shira {
namespace {

TEST(HttpServiceTest, EveryRouteHasItsRole) {
  for (const std::string_view path : HttpService::Paths()) {
    EXPECT_TRUE(RolesFor(path).has_value()) << path << " is missing in method_access.cc";
  }
}

TEST(HttpServiceTest, EveryPathOfTheTableOfRolesIsARoute) {
  const std::vector<std::string_view> paths = HttpService::Paths();
  const std::set<std::string_view> routes(paths.begin(), paths.end());
  for (const MethodAccess& entry : MethodAccessTable()) {
    const bool is_rpc = entry.method.starts_with("/shira.") || entry.method.starts_with("/grpc.");
    EXPECT_EQ(routes.contains(entry.method), !is_rpc) << entry.method;
  }
}

}  // namespace
}  // namespace shira
