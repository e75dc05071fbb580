#include "server/generation/error_details.h"

#include <unicode/utf8.h>

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "absl/strings/cord.h"
#include "absl/strings/escaping.h"
#include "base/strings.h"
#include "google/rpc/error_details.pb.h"

namespace shira {
namespace {

constexpr absl::string_view kErrorInfoUrl = "type.googleapis.com/google.rpc.ErrorInfo";
// Trailers are limited to 8 KB by default, and carry all of this in base64.
constexpr size_t kMaxMetadataValueBytes = 256;

struct ReasonOf {
  Operation operation;
  absl::StatusCode code;
  std::string_view reason;
};

using absl::StatusCode;
constexpr auto kReasons = std::to_array<ReasonOf>({
    {Operation::kUseAdapter, StatusCode::kNotFound, "ADAPTER_NOT_FOUND"},
    {Operation::kUseAdapter, StatusCode::kFailedPrecondition, "ADAPTER_NOT_READY"},
    {Operation::kUseAdapter, StatusCode::kDataLoss, "ADAPTER_FILE_CHANGED"},
    {Operation::kUseAdapter, StatusCode::kResourceExhausted, "ADAPTER_MEMORY_EXHAUSTED"},
    {Operation::kUseAdapter, StatusCode::kInvalidArgument, "INVALID_ADAPTER_SELECTION"},
    {Operation::kLoadAdapter, StatusCode::kInvalidArgument, "INVALID_ADAPTER"},
    {Operation::kLoadAdapter, StatusCode::kUnimplemented, "UNKNOWN_ADAPTER_FORMAT"},
    {Operation::kLoadAdapter, StatusCode::kNotFound, "ADAPTER_PATH_NOT_FOUND"},
    {Operation::kLoadAdapter, StatusCode::kPermissionDenied, "ADAPTER_PATH_OUTSIDE_ROOTS"},
    {Operation::kLoadAdapter, StatusCode::kAlreadyExists, "ADAPTER_ALREADY_EXISTS"},
    {Operation::kLoadAdapter, StatusCode::kFailedPrecondition, "ADAPTER_FOR_OTHER_BASE_MODEL"},
    {Operation::kLoadAdapter, StatusCode::kAborted, "ADAPTER_BUSY"},
    {Operation::kLoadAdapter, StatusCode::kDataLoss, "ADAPTER_DIGEST_MISMATCH"},
    {Operation::kLoadAdapter, StatusCode::kResourceExhausted, "ADAPTER_MEMORY_EXHAUSTED"},
    {Operation::kUploadAdapter, StatusCode::kUnimplemented, "UPLOADS_DISABLED"},
    {Operation::kUploadAdapter, StatusCode::kInvalidArgument, "INVALID_UPLOAD"},
    {Operation::kUploadAdapter, StatusCode::kResourceExhausted, "UPLOAD_QUOTA_EXHAUSTED"},
    {Operation::kUploadAdapter, StatusCode::kDataLoss, "UPLOAD_DAMAGED"},
    {Operation::kUploadAdapter, StatusCode::kDeadlineExceeded, "UPLOAD_IDLE"},
    {Operation::kCreateBlend, StatusCode::kInvalidArgument, "INVALID_BLEND"},
    {Operation::kCreateBlend, StatusCode::kNotFound, "ADAPTER_NOT_FOUND"},
    {Operation::kCreateBlend, StatusCode::kFailedPrecondition, "ADAPTER_NOT_READY"},
    {Operation::kCreateBlend, StatusCode::kDataLoss, "ADAPTER_FILE_CHANGED"},
    {Operation::kCreateBlend, StatusCode::kAlreadyExists, "ADAPTER_ALREADY_EXISTS"},
    {Operation::kCreateBlend, StatusCode::kPermissionDenied, "ADAPTER_PATH_OUTSIDE_ROOTS"},
    {Operation::kCreateBlend, StatusCode::kAborted, "ADAPTER_BUSY"},
    {Operation::kCreateBlend, StatusCode::kResourceExhausted, "ADAPTER_MEMORY_EXHAUSTED"},
    {Operation::kUnloadAdapter, StatusCode::kNotFound, "ADAPTER_NOT_FOUND"},
    {Operation::kUnloadAdapter, StatusCode::kFailedPrecondition, "ADAPTER_IS_DEFAULT"},
    {Operation::kUnloadAdapter, StatusCode::kAborted, "ADAPTER_BUSY"},
    {Operation::kUnloadAdapter, StatusCode::kDeadlineExceeded, "ADAPTER_IN_USE"},
    {Operation::kSetAlias, StatusCode::kInvalidArgument, "INVALID_ALIAS"},
    {Operation::kSetAlias, StatusCode::kAlreadyExists, "ADAPTER_ALREADY_EXISTS"},
    {Operation::kSetAlias, StatusCode::kNotFound, "ADAPTER_NOT_FOUND"},
    {Operation::kSetAlias, StatusCode::kResourceExhausted, "TOO_MANY_ALIASES"},
    {Operation::kSetAlias, StatusCode::kFailedPrecondition, "ADAPTER_NOT_READY"},
    {Operation::kRollbackAlias, StatusCode::kNotFound, "ALIAS_NOT_FOUND"},
    {Operation::kRollbackAlias, StatusCode::kFailedPrecondition, "ALIAS_WITHOUT_HISTORY"},
    {Operation::kDeleteAlias, StatusCode::kNotFound, "ALIAS_NOT_FOUND"},
    {Operation::kDeleteAlias, StatusCode::kFailedPrecondition, "ALIAS_IS_DEFAULT"},
    {Operation::kBuildPrompt, StatusCode::kInvalidArgument, "INVALID_PROMPT"},
    {Operation::kBuildPrompt, StatusCode::kResourceExhausted, "CHAT_TEMPLATE_TOO_EXPENSIVE"},
    {Operation::kQueueGeneration, StatusCode::kInvalidArgument, "PROMPT_TOO_LONG"},
    {Operation::kQueueGeneration, StatusCode::kResourceExhausted, "QUEUE_FULL"},
    {Operation::kQueueGeneration, StatusCode::kUnavailable, "SERVER_DRAINING"},
    {Operation::kRunGeneration, StatusCode::kResourceExhausted, "KV_MEMORY_EXHAUSTED"},
    {Operation::kRunGeneration, StatusCode::kDataLoss, "LOGITS_NOT_FINITE"},
    {Operation::kRunGeneration, StatusCode::kUnavailable, "SERVER_DRAINING"},
    {Operation::kControlEngine, StatusCode::kUnavailable, "SERVER_DRAINING"},
});

}  // namespace

absl::Status WithReason(absl::Status status, std::string_view reason, ErrorMetadata metadata) {
  if (status.ok() || status.GetPayload(kErrorInfoUrl).has_value()) return status;
  google::rpc::ErrorInfo info;
  info.set_domain(std::string(kErrorDomain));
  info.set_reason(std::string(reason));
  for (const auto& [key, value] : metadata) {
    (*info.mutable_metadata())[key] = ShortenForTrailers(value, kMaxMetadataValueBytes);
  }
  status.SetPayload(kErrorInfoUrl, absl::Cord(info.SerializeAsString()));
  return status;
}

absl::Status WithReason(absl::Status status, Operation operation, ErrorMetadata metadata) {
  const auto line = std::find_if(kReasons.begin(), kReasons.end(), [&](const ReasonOf& entry) {
    return entry.operation == operation && entry.code == status.code();
  });
  const std::string reason =
      line != kReasons.end() ? std::string(line->reason) : absl::StatusCodeToString(status.code());
  return WithReason(std::move(status), reason, std::move(metadata));
}

ErrorDetails DetailsOf(const absl::Status& status) {
  ErrorDetails details{.reason = absl::StatusCodeToString(status.code()), .metadata = {}};
  google::rpc::ErrorInfo info;
  const absl::optional<absl::Cord> payload = status.GetPayload(kErrorInfoUrl);
  if (!payload.has_value() || !info.ParseFromString(std::string(*payload))) return details;
  details.reason = info.reason();
  details.metadata.insert(info.metadata().begin(), info.metadata().end());
  return details;
}

std::string ShortenForTrailers(std::string_view text, size_t max_bytes) {
  // What is cut off need not be looked at.
  std::string_view head = text.substr(0, std::min(text.size(), max_bytes));
  const auto* bytes = reinterpret_cast<const uint8_t*>(text.data());
  size_t kept = head.size();
  if (kept < text.size()) U8_SET_CP_START(bytes, 0, kept);
  head = head.substr(0, kept);
  bool valid = true;
  for (int32_t i = 0; valid && i < static_cast<int32_t>(kept);) {
    UChar32 character = 0;
    U8_NEXT(bytes, i, static_cast<int32_t>(kept), character);
    valid = character >= 0;
  }
  std::string result(head);
  if (!valid) {
    // An escaped byte takes four.
    kept = std::min(kept, std::max<size_t>(max_bytes / 4, 1));
    result = absl::CHexEscape(ToAbsl(head.substr(0, kept)));
  }
  if (kept < text.size()) StrAppend(&result, "... (", text.size() - kept, " more bytes)");
  return result;
}

}  // namespace shira
