// File: base/status_macros.h
//
// Early return for absl::Status and absl::StatusOr. The names follow abseil's own macros, which
// first appear in a later release than the one that Debian 12 carries.
//
//   SHIRA_RETURN_IF_ERROR(file.Check());
//   SHIRA_ASSIGN_OR_RETURN(const MappedFile file, MappedFile::Open(path));

#ifndef SHIRA_BASE_STATUS_MACROS_H_
#define SHIRA_BASE_STATUS_MACROS_H_

#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#define SHIRA_RETURN_IF_ERROR(expr)                               \
  do {                                                            \
    if (absl::Status shira_status = (expr); !shira_status.ok()) { \
      return shira_status;                                        \
    }                                                             \
  } while (false)

#define SHIRA_ASSIGN_OR_RETURN(lhs, expr) \
  SHIRA_ASSIGN_OR_RETURN_IMPL_(SHIRA_CONCAT_(shira_statusor_, __LINE__), lhs, expr)

#define SHIRA_ASSIGN_OR_RETURN_IMPL_(statusor, lhs, expr) \
  auto statusor = (expr);                                 \
  if (!statusor.ok()) return statusor.status();           \
  lhs = *std::move(statusor)

#define SHIRA_CONCAT_(a, b) SHIRA_CONCAT_IMPL_(a, b)
#define SHIRA_CONCAT_IMPL_(a, b) a##b

#endif  // SHIRA_BASE_STATUS_MACROS_H_
