#include "server/access/role.h"

#include <array>
#include <utility>

#include "base/strings.h"

namespace shira {
namespace {

constexpr auto kRoles = std::to_array<std::pair<std::string_view, Role>>({
    {"inference", Role::kInference},
    {"priority", Role::kPriority},
    {"read-only", Role::kReadOnly},
    {"admin", Role::kAdmin},
});

}  // namespace

std::string_view RoleName(Role role) {
  for (const auto& [name, known] : kRoles) {
    if (known == role) return name;
  }
  return "unknown";
}

std::optional<Role> ParseRole(std::string_view name) {
  for (const auto& [known, role] : kRoles) {
    if (known == name) return role;
  }
  return std::nullopt;
}

std::string RoleSet::ToString() const {
  std::string text;
  for (const auto& [name, role] : kRoles) {
    if (Has(role)) StrAppend(&text, text.empty() ? "" : ", ", name);
  }
  return text.empty() ? "none" : text;
}

}  // namespace shira
