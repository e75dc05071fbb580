#include "server/access/access_list.h"

#include <openssl/crypto.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_split.h"
#include "base/problem_list.h"
#include "base/status_macros.h"
#include "base/strings.h"

namespace shira {
namespace {

constexpr std::string_view kHashPrefix = "sha256:";
constexpr std::string_view kCertificatePrefix = "cert:";
constexpr std::string_view kAnyCertificate = "*";
constexpr size_t kMinTokenBytes = 16;
constexpr size_t kMaxNameBytes = 64;

absl::StatusOr<RoleSet> ParseRoles(std::string_view text) {
  RoleSet roles;
  for (const absl::string_view name : absl::StrSplit(ToAbsl(text), ',')) {
    const std::optional<Role> role = ParseRole(ToStd(name));
    if (!role.has_value()) {
      return absl::InvalidArgumentError(
          StrCat("expected inference, priority, read-only or admin (with "
                 "commas between), found '",
                 text, "'"));
    }
    roles.Add(*role);
  }
  return roles;
}

// Names go into log lines and labels.
absl::Status CheckName(std::string_view name) {
  const bool plain = std::all_of(name.begin(), name.end(), [](char c) {
    return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '.' || c == '_' || c == '-' ||
           c == '@' || c == '/';
  });
  if (plain && name.size() <= kMaxNameBytes) return absl::OkStatus();
  return absl::InvalidArgumentError(
      StrCat("a name has up to ", kMaxNameBytes, " letters, digits and . _ - @ /"));
}

absl::StatusOr<Sha256Digest> ParseDigest(std::string_view hex) {
  const bool digits = std::all_of(hex.begin(), hex.end(), [](char c) {
    return absl::ascii_isxdigit(static_cast<unsigned char>(c));
  });
  Sha256Digest digest;
  if (!digits || hex.size() != 2 * digest.bytes.size()) {
    return absl::InvalidArgumentError("sha256: needs 64 hexadecimal digits");
  }
  const std::string bytes = absl::HexStringToBytes(ToAbsl(hex));
  std::copy(bytes.begin(), bytes.end(), digest.bytes.begin());
  return digest;
}

}  // namespace

absl::StatusOr<AccessList> AccessList::Parse(std::string_view text) {
  AccessList list;
  ProblemList problems;
  int64_t number = 0;
  for (const absl::string_view raw : absl::StrSplit(ToAbsl(text), '\n')) {
    ++number;
    const std::string_view line = ToStd(absl::StripAsciiWhitespace(raw));
    if (line.empty() || line.starts_with('#')) continue;
    if (const absl::Status status = list.AddLine(line); !status.ok()) {
      problems.Add("line ", number, ": ", ToStd(status.message()));
    }
  }
  if (list.size() == 0) problems.Add("no line has a credential: every call would be refused");
  SHIRA_RETURN_IF_ERROR(problems.ToStatus(absl::StatusCode::kInvalidArgument, "bad access file"));
  return list;
}

absl::Status AccessList::AddLine(std::string_view line) {
  const std::vector<std::string> fields =
      absl::StrSplit(ToAbsl(line), absl::ByAnyChar(" \t\r"), absl::SkipEmpty());
  if (fields.size() != 3) {
    return absl::InvalidArgumentError(
        StrCat("expected ROLES NAME CREDENTIAL, found ", fields.size(), " fields"));
  }
  Identity identity{.name = fields[1], .roles = {}};
  SHIRA_ASSIGN_OR_RETURN(identity.roles, ParseRoles(fields[0]));
  SHIRA_RETURN_IF_ERROR(CheckName(identity.name));

  const std::string_view credential = fields[2];
  if (credential.starts_with(kCertificatePrefix)) {
    std::string name(credential.substr(kCertificatePrefix.size()));
    if (name.empty()) return absl::InvalidArgumentError("cert: needs a name, or *");
    certificates_.push_back({std::move(name), std::move(identity)});
    return absl::OkStatus();
  }
  if (credential.starts_with(kHashPrefix)) {
    SHIRA_ASSIGN_OR_RETURN(const Sha256Digest digest,
                           ParseDigest(credential.substr(kHashPrefix.size())));
    return AddToken(digest, std::move(identity));
  }
  const bool printable = std::all_of(credential.begin(), credential.end(), [](char c) {
    return absl::ascii_isgraph(static_cast<unsigned char>(c));
  });
  if (credential.size() < kMinTokenBytes || !printable) {
    return absl::InvalidArgumentError(
        StrCat("a token has at least ", kMinTokenBytes, " printable ASCII characters"));
  }
  return AddToken(Sha256::Of(credential), std::move(identity));
}

absl::Status AccessList::AddToken(const Sha256Digest& digest, Identity identity) {
  for (const Token& token : tokens_) {
    if (token.digest == digest) {
      return absl::InvalidArgumentError(StrCat("the same token as that of ", token.identity.name));
    }
  }
  tokens_.push_back({digest, std::move(identity)});
  return absl::OkStatus();
}

const Identity* AccessList::FindToken(std::string_view token) const {
  const Sha256Digest digest = Sha256::Of(token);
  const Identity* found = nullptr;
  for (const Token& known : tokens_) {
    // No early end: the time must not tell how much of a guess was right, nor where.
    const bool equal =
        CRYPTO_memcmp(known.digest.bytes.data(), digest.bytes.data(), digest.bytes.size()) == 0;
    if (equal) found = &known.identity;
  }
  return found;
}

const Identity* AccessList::FindCertificate(absl::Span<const std::string> names) const {
  const Identity* any = nullptr;
  for (const Certificate& known : certificates_) {
    if (std::find(names.begin(), names.end(), known.name) != names.end()) return &known.identity;
    if (known.name == kAnyCertificate && any == nullptr) any = &known.identity;
  }
  return any;
}

}  // namespace shira
