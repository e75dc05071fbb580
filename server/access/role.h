// File: server/access/role.h
//
// What a caller may be, and sets of it.

#ifndef SHIRA_SERVER_ACCESS_ROLE_H_
#define SHIRA_SERVER_ACCESS_ROLE_H_

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>

namespace shira {

enum class Role : uint8_t {
  kInference,  // generate and tokenise
  kPriority,   // with inference: generate at a priority above the others'
  kReadOnly,   // look at adapters, weights' state and figures
  kAdmin,      // everything
};

// "inference", "priority", "read-only", "admin".
std::string_view RoleName(Role role);
std::optional<Role> ParseRole(std::string_view name);

// A value type.
class RoleSet {
 public:
  constexpr RoleSet() = default;
  constexpr RoleSet(std::initializer_list<Role> roles) {
    for (const Role role : roles) bits_ |= Bit(role);
  }
  static constexpr RoleSet All() {
    return {Role::kInference, Role::kPriority, Role::kReadOnly, Role::kAdmin};
  }

  constexpr void Add(Role role) { bits_ |= Bit(role); }
  constexpr bool Has(Role role) const { return (bits_ & Bit(role)) != 0; }
  constexpr bool Intersects(RoleSet other) const { return (bits_ & other.bits_) != 0; }
  constexpr bool empty() const { return bits_ == 0; }
  // A right of the caller's, not of a method.
  constexpr bool may_raise_priority() const { return Intersects({Role::kPriority, Role::kAdmin}); }

  // "inference, admin"; "none".
  std::string ToString() const;

  constexpr bool operator==(const RoleSet&) const = default;

 private:
  static constexpr uint8_t Bit(Role role) {
    return static_cast<uint8_t>(1u << static_cast<uint8_t>(role));
  }
  uint8_t bits_ = 0;
};

}  // namespace shira

#endif  // SHIRA_SERVER_ACCESS_ROLE_H_
