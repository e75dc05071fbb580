#include "adapters/format/base_name.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"

namespace shira {
namespace {

std::string Normalized(std::string_view name) {
  std::string normalized;
  for (const char c : name.substr(name.rfind('/') + 1)) {
    if (absl::ascii_isalnum(c)) normalized += absl::ascii_tolower(c);
  }
  return normalized;
}

bool IsHubIdentity(std::string_view name) {
  return std::count(name.begin(), name.end(), '/') == 1 && absl::ascii_isalnum(name.front()) &&
         absl::ascii_isalnum(name.back());
}

}  // namespace

bool ContradictsBaseName(std::string_view claimed, absl::Span<const std::string> names) {
  if (claimed.empty() || !IsHubIdentity(claimed) || names.empty()) return false;
  const std::string wanted = Normalized(claimed);
  return std::none_of(names.begin(), names.end(), [&](const std::string& name) {
    const std::string known = Normalized(name);
    return !known.empty() && (absl::StartsWith(known, wanted) || absl::StartsWith(wanted, known));
  });
}

}  // namespace shira
