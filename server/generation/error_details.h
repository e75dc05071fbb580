// File: server/generation/error_details.h
//
// What the public API promises about every error: a google.rpc.ErrorInfo with a reason and metadata
// that names the thing at fault. It rides on absl::Status as a payload until status_conversion
// turns it into a gRPC status.

#ifndef SHIRA_SERVER_GENERATION_ERROR_DETAILS_H_
#define SHIRA_SERVER_GENERATION_ERROR_DETAILS_H_

#include <map>
#include <string>
#include <string_view>

#include "absl/status/status.h"

namespace shira {

inline constexpr std::string_view kErrorDomain = "shira";

// What failed; the table in the .cc gives the reason for each operation and code.
enum class Operation {
  kUseAdapter,     // pin an adapter for a request, or look it up
  kLoadAdapter,    // read an adapter from disk
  kUploadAdapter,  // receive its files
  kCreateBlend,    // make one out of others
  kUnloadAdapter,  // forget it
  kSetAlias,
  kRollbackAlias,
  kDeleteAlias,
  kBuildPrompt,  // text or conversation to tokens
  kQueueGeneration,
  kRunGeneration,
  kControlEngine,  // apply a state, hash the weights
};

using ErrorMetadata = std::map<std::string, std::string>;

// Attaches ErrorInfo with this reason, unless the status is OK or has one already. Values of
// metadata are shortened to what fits into trailers.
absl::Status WithReason(absl::Status status, std::string_view reason, ErrorMetadata metadata = {});

// As above, with the reason of the table. A code without a line there has the code's own name as
// its reason.
absl::Status WithReason(absl::Status status, Operation operation, ErrorMetadata metadata = {});

// What WithReason() has attached; the code's own name where it has not.
struct ErrorDetails {
  std::string reason;
  ErrorMetadata metadata;
};
ErrorDetails DetailsOf(const absl::Status& status);

// After how long a call may be tried again that found no room (RESOURCE_EXHAUSTED): about one short
// generation.
inline constexpr int kRetrySeconds = 1;

// At most `max_bytes` of `text` (and a note on how much was cut), whole characters, valid UTF-8:
// bytes of anything else are escaped.
std::string ShortenForTrailers(std::string_view text, size_t max_bytes);

}  // namespace shira

#endif  // SHIRA_SERVER_GENERATION_ERROR_DETAILS_H_
