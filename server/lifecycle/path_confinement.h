// File: server/lifecycle/path_confinement.h
//
// Keeps the paths that clients name inside the folders that the operator allowed. Every symbolic
// link is resolved before the comparison, those of the files in an adapter's folder too. An adapter
// may also be a single file, and so may be a root: then it is the only path below it.

#ifndef SHIRA_SERVER_LIFECYCLE_PATH_CONFINEMENT_H_
#define SHIRA_SERVER_LIFECYCLE_PATH_CONFINEMENT_H_

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"

namespace shira {

// Immutable. Looks at the file system, but opens no file. A user who can write below a root can
// swap a folder for a link after the check: only the operator should write there.
class PathConfinement {
 public:
  // INVALID_ARGUMENT for a root that is neither a folder nor a regular file.
  static absl::StatusOr<PathConfinement> Create(const std::vector<std::string>& roots);

  // The canonical form of `path`: absolute, or relative to a root (the first that has it).
  //   INVALID_ARGUMENT   empty, a NUL inside, or neither a folder nor a regular file
  //   PERMISSION_DENIED  outside of every root, or an entry of the folder is a link that leads out
  //                      or nowhere. Whether anything is there is not told.
  //   NOT_FOUND          inside, but there is nothing
  absl::StatusOr<std::string> Resolve(const std::string& path) const;

  // Where something new called `path` is to be made: in a folder that is there. The result's folder
  // is canonical.
  //   INVALID_ARGUMENT   empty, a NUL inside, or no name at the end that a file can have
  //   PERMISSION_DENIED  outside of every root
  //   NOT_FOUND          inside, but the folder is not there
  //   ALREADY_EXISTS     something is there
  absl::StatusOr<std::string> ResolveNew(const std::string& path) const;

  // Canonical, in the order that was given.
  const std::vector<std::filesystem::path>& roots() const { return roots_; }

 private:
  explicit PathConfinement(std::vector<std::filesystem::path> roots) : roots_(std::move(roots)) {}

  bool Contains(const std::filesystem::path& canonical) const;
  // The canonical form of what exists at `path`, whatever it is. Errors of Resolve().
  absl::StatusOr<std::filesystem::path> Find(const std::string& path) const;
  // Whether `candidate` exists inside of the roots, and then its canonical form.
  absl::StatusOr<std::filesystem::path> ResolveCandidate(
      const std::filesystem::path& candidate) const;
  // What lies at the canonical path: a regular file, or a folder without links that lead out.
  absl::Status CheckTarget(const std::filesystem::path& path) const;

  std::vector<std::filesystem::path> roots_;
};

}  // namespace shira

#endif  // SHIRA_SERVER_LIFECYCLE_PATH_CONFINEMENT_H_
