// File: server/service/generate_request.h
//
// The public API's requests, validated and in the program's own types. Pure functions.

#ifndef SHIRA_SERVER_SERVICE_GENERATE_REQUEST_H_
#define SHIRA_SERVER_SERVICE_GENERATE_REQUEST_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "server/lifecycle/adapter_lifecycle.h"
#include "server/sampling/sampling_params.h"
#include "server/service/field_problems.h"
#include "server/tokenizer/stream_decoder.h"
#include "shira/v1/inference.pb.h"

namespace shira {

struct RequestLimits {
  int32_t vocab_size = 0;         // of the model: token ids are below it
  int64_t max_tokens = 0;         // most new tokens that a request may ask for
  int64_t max_prompt_tokens = 0;  // 0: what the context holds
  int max_stop_strings = 16;
  size_t max_stop_string_bytes = 1024;
  int max_stop_tokens = 256;
  int max_logprobs = 20;
  int max_adapters = 64;  // in one selection
  int max_choices = 16;
  int max_logit_biases = 1024;
  int max_priority = 100;  // and -max_priority the lowest
  size_t max_request_id_bytes = 128;
};

struct GenerateOptions {
  std::string request_id;                                     // may be empty
  std::optional<std::vector<AdapterSelectionTerm>> adapters;  // nullopt: the default state
  SamplingParams sampling;                                    // seed is 0 unless given
  bool has_seed = false;
  int64_t max_tokens = 0;
  std::vector<int32_t> stop_tokens;
  bool ignore_eos = false;
  StreamDecoder::Options text;
  std::optional<int32_t> top_logprobs;
  int32_t choices = 1;
  int32_t priority = 0;
};

// Everything about the request but its input, which only the tokenizer can judge; that there is
// one, and that token ids are within the vocabulary, is checked here. INVALID_ARGUMENT lists every
// problem.
absl::StatusOr<GenerateOptions> ParseGenerateRequest(const v1::GenerateRequest& request,
                                                     const RequestLimits& limits);

// Adapters by name; the single name "base" is the empty selection. Adds to `problems` under `field`
// what is wrong.
std::vector<AdapterSelectionTerm> ParseSelection(
    const google::protobuf::RepeatedPtrField<v1::WeightedAdapter>& adapters,
    const RequestLimits& limits, std::string_view field, FieldProblems& problems);

}  // namespace shira

#endif  // SHIRA_SERVER_SERVICE_GENERATE_REQUEST_H_
