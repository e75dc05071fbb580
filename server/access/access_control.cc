#include "server/access/access_control.h"

#include <spdlog/spdlog.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <optional>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/strip.h"
#include "base/status_macros.h"
#include "base/steady_clock.h"
#include "base/steady_wait.h"
#include "base/strings.h"
#include "server/access/method_access.h"

namespace shira {
namespace {

constexpr size_t kMaxFileBytes = size_t{1} << 20;
constexpr std::string_view kBearer = "Bearer ";

absl::Status InFile(const std::string& path, const absl::Status& status) {
  return absl::Status(status.code(), StrCat(path, ": ", ToStd(status.message())));
}

// "Bearer" is matched without regard to case, as RFC 7235 says.
std::optional<std::string_view> BearerToken(std::string_view authorization) {
  if (!absl::StartsWithIgnoreCase(ToAbsl(authorization), ToAbsl(kBearer))) return std::nullopt;
  return authorization.substr(kBearer.size());
}

}  // namespace

absl::StatusOr<std::string> ReadAccessFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    const std::string message = StrCat(path, ": ", std::string_view(std::strerror(errno)));
    return errno == ENOENT ? absl::NotFoundError(message) : absl::PermissionDeniedError(message);
  }
  std::string text(kMaxFileBytes + 1, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<size_t>(file.gcount()));
  if (file.bad()) return absl::PermissionDeniedError(StrCat(path, ": cannot be read"));
  if (text.size() > kMaxFileBytes) {
    return absl::InvalidArgumentError(StrCat(path, ": has more than ", kMaxFileBytes, " bytes"));
  }
  return text;
}

absl::StatusOr<std::unique_ptr<AccessControl>> AccessControl::Create(Options options) {
  std::unique_ptr<AccessControl> control(new AccessControl(std::move(options)));
  if (control->options_.access_file.empty()) return control;
  SHIRA_ASSIGN_OR_RETURN(const std::string text, ReadAccessFile(control->options_.access_file));
  absl::StatusOr<AccessList> list = AccessList::Parse(text);
  if (!list.ok()) return InFile(control->options_.access_file, list.status());
  if (list->has_certificates() && !control->options_.client_certificates) {
    return absl::InvalidArgumentError(StrCat(
        control->options_.access_file, ": names certificates, but there is no --tls-client-ca"));
  }
  {
    absl::MutexLock lock(&control->mutex_);
    control->list_ = std::make_shared<const AccessList>(*std::move(list));
    control->file_digest_ = Sha256::Of(text);
  }
  control->watcher_ = std::thread([control = control.get()] { control->WatchFile(); });
  return control;
}

AccessControl::AccessControl(Options options) : options_(std::move(options)) {}

AccessControl::~AccessControl() {
  {
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
  }
  if (watcher_.joinable()) watcher_.join();
}

std::shared_ptr<const AccessList> AccessControl::list() const {
  absl::MutexLock lock(&mutex_);
  return list_;
}

// The file is read as a whole each time: it is small, and modification times are unreliable
// (renames, mounted secrets). A file that is invalid or missing changes nothing: a typing error must
// not lock every caller out.
absl::Status AccessControl::Reload() {
  if (options_.access_file.empty()) return absl::OkStatus();
  SHIRA_ASSIGN_OR_RETURN(const std::string text, ReadAccessFile(options_.access_file));
  absl::StatusOr<AccessList> list = AccessList::Parse(text);
  if (!list.ok()) return InFile(options_.access_file, list.status());
  const Sha256Digest digest = Sha256::Of(text);
  absl::MutexLock lock(&mutex_);
  if (digest == file_digest_) return absl::OkStatus();
  list_ = std::make_shared<const AccessList>(*std::move(list));
  file_digest_ = digest;
  spdlog::info("access: {} was read again: {} credentials", options_.access_file, list_->size());
  return absl::OkStatus();
}

void AccessControl::WatchFile() {
  absl::Status last_error;
  while (true) {
    {
      absl::MutexLock lock(&mutex_);
      if (AwaitUntil(mutex_, absl::Condition(&stopping_), SteadyNow() + options_.reload_interval))
        return;
    }
    const absl::Status status = Reload();
    if (!status.ok() && status != last_error) {
      spdlog::error("access: the file is not used, and what was read before stays in force: {}",
                    status.ToString());
    }
    last_error = status;
  }
}

absl::StatusOr<Identity> AccessControl::Identify(const CallerCredentials& credentials) const {
  if (credentials.authorizations.size() > 1) {
    return absl::UnauthenticatedError("there is more than one authorization header");
  }
  const std::string_view authorization =
      credentials.authorizations.empty() ? std::string_view() : credentials.authorizations.front();
  const std::shared_ptr<const AccessList> list = this->list();
  if (list == nullptr && !options_.client_certificates) return Identity{"", RoleSet::All()};

  // A token says more than the connection that it came over, which a proxy may have made.
  if (list != nullptr && !authorization.empty()) {
    const std::optional<std::string_view> token = BearerToken(authorization);
    const Identity* identity = token.has_value() ? list->FindToken(*token) : nullptr;
    if (identity != nullptr) return *identity;
    return absl::UnauthenticatedError(
        token.has_value() ? "unknown bearer token"
                          : "the authorization header is not of the form 'Bearer TOKEN'");
  }
  if (!credentials.certificate_names.empty()) {
    if (list == nullptr) return Identity{credentials.certificate_names.front(), RoleSet::All()};
    if (const Identity* identity = list->FindCertificate(credentials.certificate_names)) {
      return *identity;
    }
    return absl::UnauthenticatedError("unknown client certificate");
  }
  return absl::UnauthenticatedError(list != nullptr
                                        ? "no credentials: send 'authorization: Bearer TOKEN'"
                                        : "no credentials: show a client certificate");
}

absl::Status AccessControl::Check(std::string_view method,
                                  const CallerCredentials& credentials) const {
  const std::optional<RoleSet> roles = RolesFor(method);
  if (roles.has_value() && roles->empty()) return absl::OkStatus();
  SHIRA_ASSIGN_OR_RETURN(const Identity identity, Identify(credentials));
  if (!roles.has_value()) return absl::UnimplementedError("unknown method");
  if (identity.roles.Intersects(*roles)) return absl::OkStatus();
  return absl::PermissionDeniedError(StrCat("'", identity.name, "' may not call ", method,
                                            ": it needs one of the roles ", roles->ToString(),
                                            ", and has ", identity.roles.ToString()));
}

}  // namespace shira
