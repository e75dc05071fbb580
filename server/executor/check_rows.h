// File: server/executor/check_rows.h

#ifndef SHIRA_SERVER_EXECUTOR_CHECK_ROWS_H_
#define SHIRA_SERVER_EXECUTOR_CHECK_ROWS_H_

#include <cstdint>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "server/executor/batch_row.h"

namespace shira {

// What ModelExecutor::Forward() requires of its rows, as far as an executor would otherwise write or
// read outside of its memory. INVALID_ARGUMENT naming the row.
absl::Status CheckRows(absl::Span<const BatchRow> rows, int32_t vocab_size);

}  // namespace shira

#endif  // SHIRA_SERVER_EXECUTOR_CHECK_ROWS_H_
