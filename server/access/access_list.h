// File: server/access/access_list.h
//
// Who may call what, as the operator's access file says it: one line per credential,
//
//   # ROLES              NAME      CREDENTIAL
//   admin                ops
//   sha256:8c6976e5b5410415bde908bd4dee15dfb167a9c873fc4bb8a81f6f2ab448a918 inference website
//   Yk3mJ0pQx9sVb2LdTn5w inference,read-only  batch     cert:batch.example.org
//
// ROLES: inference, priority, read-only, admin, with commas between. NAME: what the log and the limits call
// the caller; several lines may share it. CREDENTIAL: the SHA-256 of a bearer token in hexadecimal,
// or the token itself (at least 16 printable characters), or "cert:" with a client certificate's
// common name or alternative name ("cert:*": any certificate that the client CA has signed). Empty
// lines and lines that begin with '#' say nothing.

#ifndef SHIRA_SERVER_ACCESS_ACCESS_LIST_H_
#define SHIRA_SERVER_ACCESS_ACCESS_LIST_H_

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "base/sha256.h"
#include "server/access/role.h"

namespace shira {

// Who a caller is.
struct Identity {
  std::string name;  // empty: anonymous
  RoleSet roles;
};

// Holds digests of tokens, never tokens. Immutable after construction.
class AccessList {
 public:
  // INVALID_ARGUMENT lists every problem, by line; it never repeats a credential.
  static absl::StatusOr<AccessList> Parse(std::string_view text);

  // Takes the same time whichever line matches, if any. nullptr: unknown.
  const Identity* FindToken(std::string_view token) const;

  // The first line that one of a verified certificate's names matches; names before "cert:*".
  const Identity* FindCertificate(absl::Span<const std::string> names) const;

  bool has_certificates() const { return !certificates_.empty(); }
  size_t size() const { return tokens_.size() + certificates_.size(); }

 private:
  struct Token {
    Sha256Digest digest;
    Identity identity;
  };
  struct Certificate {
    std::string name;  // or "*"
    Identity identity;
  };

  absl::Status AddLine(std::string_view line);
  absl::Status AddToken(const Sha256Digest& digest, Identity identity);

  std::vector<Token> tokens_;
  std::vector<Certificate> certificates_;
};

}  // namespace shira

#endif  // SHIRA_SERVER_ACCESS_ACCESS_LIST_H_
