#include "server/registry/adapter_name.h"

#include <algorithm>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "base/strings.h"

namespace shira {
namespace {

bool IsNameCharacter(char c) {
  return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '.' || c == '_' || c == '-' ||
         c == '/';
}

}  // namespace

absl::Status ValidateAdapterName(std::string_view name) {
  if (name == kBaseName) {
    return absl::InvalidArgumentError(
        "the adapter name 'base' is reserved for the weights without any adapter");
  }
  if (name.empty() || name.size() > kMaxAdapterNameLength ||
      !absl::ascii_isalnum(static_cast<unsigned char>(name.front())) ||
      !std::all_of(name.begin(), name.end(), IsNameCharacter)) {
    // What is quoted is bounded, since it comes from a client.
    const std::string shown = absl::CHexEscape(ToAbsl(name.substr(0, kMaxAdapterNameLength)));
    return absl::InvalidArgumentError(
        StrCat("adapter name '", shown, "' must have 1 to ", kMaxAdapterNameLength,
               " characters out of letters, digits, '.', '_', '-' and '/', and begin with a letter "
               "or a digit; it has ",
               name.size()));
  }
  return absl::OkStatus();
}

}  // namespace shira
