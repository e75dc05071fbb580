// File: server/model/torch_status.h
//
// The wall that LibTorch's exceptions do not pass.

#ifndef SHIRA_SERVER_MODEL_TORCH_STATUS_H_
#define SHIRA_SERVER_MODEL_TORCH_STATUS_H_

#include <string_view>

#include "absl/status/status.h"

namespace shira {

// The exception in flight as a status: RESOURCE_EXHAUSTED for want of memory, else INTERNAL.
// `doing` begins the message. REQUIRES: called from a catch block.
absl::Status StatusOfCurrentException(std::string_view doing);

}  // namespace shira

#endif  // SHIRA_SERVER_MODEL_TORCH_STATUS_H_
