// A GenerateRequest from the wire to the program's own types: whatever is accepted is in range.

#include <cmath>
#include <variant>

#include "server/generation/conversation.h"
#include "server/generation/generate_request.h"
#include "server/grpc/request_conversion.h"
#include "server/logging/call_records.h"
#include "shira/v1/inference.pb.h"
#include "tests/fuzz/fuzz_target.h"

using ::shira::testing::Promise;

namespace {

constexpr shira::RequestLimits kLimits = {.vocab_size = 1000, .max_tokens = 100};

void CheckSampling(const shira::SamplingParams& sampling) {
  Promise(sampling.Validate(kLimits.vocab_size).ok(), "accepted sampling parameters are valid");
  Promise(std::isfinite(sampling.temperature) && sampling.temperature >= 0, "temperature");
  Promise(sampling.top_k >= 0, "top_k");
  Promise(sampling.top_p > 0 && sampling.top_p <= 1, "top_p");
  Promise(sampling.min_p >= 0 && sampling.min_p <= 1, "min_p");
  Promise(std::isfinite(sampling.repetition_penalty) && sampling.repetition_penalty > 0,
          "repetition_penalty");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  shira::v1::GenerateRequest proto;
  if (!proto.ParseFromArray(data, static_cast<int>(size))) return 0;
  shira::GenerateRequest request = shira::FromProto(proto);
  if (const absl::Status status = shira::CheckAndComplete(kLimits, request); !status.ok()) {
    Promise(absl::IsInvalidArgument(status), "a bad request is INVALID_ARGUMENT");
    return 0;
  }
  CheckSampling(request.sampling);
  Promise(*request.max_tokens > 0 && *request.max_tokens <= kLimits.max_tokens, "max_tokens");
  Promise(request.request_id.size() <= shira::kMaxRequestIdBytes, "request_id");
  for (const int32_t token : request.stop_tokens) {
    Promise(token >= 0 && token < kLimits.vocab_size, "stop tokens are in the vocabulary");
  }
  for (const int32_t token : proto.token_ids().ids()) {
    Promise(token >= 0 && token < kLimits.vocab_size, "token ids are in the vocabulary");
  }
  if (request.top_logprobs.has_value()) {
    Promise(*request.top_logprobs >= 0 && *request.top_logprobs <= kLimits.max_logprobs,
            "logprobs");
  }
  if (const auto* chat = std::get_if<shira::Conversation>(&request.input)) {
    const absl::StatusOr<shira::ChatTemplateInput> seen = shira::SeenByTemplate(*chat);
    Promise(seen.ok() ? seen->messages.size() == chat->messages.size()
                      : absl::IsInvalidArgument(seen.status()),
            "a conversation is seen whole, or is INVALID_ARGUMENT");
  }
  if (request.adapters.has_value()) {
    Promise(request.adapters->size() <= static_cast<size_t>(kLimits.max_adapters), "adapters");
    for (const auto& term : *request.adapters) Promise(std::isfinite(term.weight), "weights");
  }
  return 0;
}
