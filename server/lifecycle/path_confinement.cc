#include "server/lifecycle/path_confinement.h"

#include <algorithm>
#include <system_error>

#include "base/status_macros.h"
#include "base/strings.h"

namespace shira {
namespace fs = std::filesystem;
namespace {

absl::Status Outside(const fs::path& path) {
  return absl::PermissionDeniedError(StrCat(
      path.native(), " is outside of the adapter roots; adapters must lie below one of them"));
}

}  // namespace

absl::StatusOr<PathConfinement> PathConfinement::Create(const std::vector<std::string>& roots) {
  std::vector<fs::path> canonical_roots;
  for (const std::string& root : roots) {
    std::error_code error;
    fs::path canonical = fs::canonical(root, error);
    if (!error && !fs::is_directory(canonical, error) && !fs::is_regular_file(canonical, error) &&
        !error) {
      error = std::make_error_code(std::errc::not_a_directory);
    }
    if (error) {
      return absl::InvalidArgumentError(
          StrCat("adapter root '", root, "' is neither a folder nor a file: ", error.message()));
    }
    canonical_roots.push_back(std::move(canonical));
  }
  return PathConfinement(std::move(canonical_roots));
}

absl::StatusOr<std::string> PathConfinement::Resolve(const std::string& path) const {
  SHIRA_ASSIGN_OR_RETURN(const fs::path canonical, Find(path));
  SHIRA_RETURN_IF_ERROR(CheckTarget(canonical));
  return canonical.native();
}

absl::StatusOr<fs::path> PathConfinement::Find(const std::string& path) const {
  if (path.empty() || path.find('\0') != std::string::npos) {
    return absl::InvalidArgumentError("the adapter path is empty or has a NUL character inside");
  }
  std::vector<fs::path> candidates;
  if (fs::path(path).is_absolute()) {
    candidates.push_back(path);
  } else {
    std::error_code error;
    for (const fs::path& root : roots_) {
      if (fs::is_directory(root, error)) candidates.push_back(root / path);
    }
  }
  absl::Status error =
      roots_.empty()
          ? absl::PermissionDeniedError(
                "no adapter root is configured, so no path is allowed: start the server with "
                "--adapter-root FOLDER")
          : absl::NotFoundError(StrCat("no adapter root has ", path));
  for (const fs::path& candidate : candidates) {
    absl::StatusOr<fs::path> canonical = ResolveCandidate(candidate);
    if (canonical.ok()) return canonical;
    // A refusal says more than an absence in another root.
    if (!absl::IsPermissionDenied(error)) error = std::move(canonical).status();
  }
  return error;
}

absl::StatusOr<std::string> PathConfinement::ResolveNew(const std::string& path) const {
  std::string_view trimmed = path;  // a folder may be named with a slash at its end
  while (trimmed.size() > 1 && trimmed.back() == '/') trimmed.remove_suffix(1);
  const fs::path name = fs::path(trimmed).filename();
  if (name.empty() || name == "." || name == ".." || path.find('\0') != std::string::npos) {
    return absl::InvalidArgumentError(
        StrCat("'", path.substr(0, path.find('\0')), "' names no file or folder to be made"));
  }
  const std::string parent = fs::path(trimmed).parent_path().native();
  SHIRA_ASSIGN_OR_RETURN(const fs::path folder, Find(parent.empty() ? "." : parent));
  const fs::path made = folder / name;
  std::error_code error;
  const fs::file_type type = fs::symlink_status(made, error).type();
  if (type == fs::file_type::none) {
    return absl::InvalidArgumentError(StrCat(made.native(), ": ", error.message()));
  }
  if (type != fs::file_type::not_found) {
    return absl::AlreadyExistsError(StrCat(made.native(), " is there already"));
  }
  return made.native();
}

bool PathConfinement::Contains(const fs::path& canonical) const {
  return std::any_of(roots_.begin(), roots_.end(), [&](const fs::path& root) {
    return std::mismatch(root.begin(), root.end(), canonical.begin(), canonical.end()).first ==
           root.end();
  });
}

absl::StatusOr<fs::path> PathConfinement::ResolveCandidate(const fs::path& candidate) const {
  // First as far as it exists: what is outside is refused whether or not it is there.
  std::error_code error;
  const fs::path reachable = fs::weakly_canonical(candidate, error);
  if (error || !Contains(reachable)) return Outside(candidate);
  fs::path canonical = fs::canonical(candidate, error);
  if (error) {
    return absl::NotFoundError(StrCat(candidate.native(), ": ", error.message()));
  }
  if (!Contains(canonical)) return Outside(candidate);
  return canonical;
}

absl::Status PathConfinement::CheckTarget(const fs::path& path) const {
  std::error_code error;
  if (fs::is_regular_file(path, error)) return absl::OkStatus();
  if (!fs::is_directory(path, error)) {
    return absl::InvalidArgumentError(
        StrCat(path.native(), " is neither a folder nor a regular file"));
  }
  for (fs::directory_iterator it(path, error), end; !error && it != end; it.increment(error)) {
    std::error_code link_error;
    if (!it->is_symlink(link_error)) continue;
    const fs::path target = fs::canonical(it->path(), link_error);
    if (link_error || !Contains(target)) {
      return absl::PermissionDeniedError(
          StrCat(it->path().native(), " is a symbolic link that leads out of the adapter roots"));
    }
  }
  if (error) {
    return absl::PermissionDeniedError(
        StrCat("cannot list ", path.native(), ": ", error.message()));
  }
  return absl::OkStatus();
}

}  // namespace shira
