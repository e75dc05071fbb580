#include "server/catalog/adapter_name.h"

#include <algorithm>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
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

std::string AdapterVersion::ToString() const { return StrCat(name, "@", version); }

absl::StatusOr<AdapterReference> ParseAdapterReference(std::string_view text) {
  const size_t at = text.find('@');
  if (at == std::string_view::npos) return AdapterReference{std::string(text), std::nullopt};
  const std::string_view digits = text.substr(at + 1);
  int64_t version = 0;
  const bool is_number = !digits.empty() && std::all_of(digits.begin(), digits.end(), [](char c) {
    return absl::ascii_isdigit(static_cast<unsigned char>(c));
  });
  if (!is_number || !absl::SimpleAtoi(ToAbsl(digits), &version) || version < 1) {
    const std::string shown = absl::CHexEscape(ToAbsl(text.substr(0, kMaxAdapterNameLength)));
    return absl::InvalidArgumentError(
        StrCat("'", shown, "': what follows '@' must be a version, a positive number"));
  }
  return AdapterReference{std::string(text.substr(0, at)), version};
}

}  // namespace shira
