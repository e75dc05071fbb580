// File: server/generation/log_text.h

#ifndef SHIRA_SERVER_GENERATION_LOG_TEXT_H_
#define SHIRA_SERVER_GENERATION_LOG_TEXT_H_

#include <string>
#include <string_view>

#include "absl/strings/escaping.h"
#include "base/strings.h"
#include "server/generation/error_details.h"

namespace shira {

// Text that a client had a hand in, for a line of the log: control characters are escaped, so that
// it cannot forge a line, and the length is bounded.
inline std::string ForLog(std::string_view text, size_t max_bytes = 128) {
  return absl::Utf8SafeCHexEscape(ShortenForTrailers(text, max_bytes));
}

}  // namespace shira

#endif  // SHIRA_SERVER_GENERATION_LOG_TEXT_H_
