// File: server/generation/generate_request.h
//
// What a client asks for, in the program's own types, and the one validation of it: whatever front
// end it came through. Pure functions.

#ifndef SHIRA_SERVER_GENERATION_GENERATE_REQUEST_H_
#define SHIRA_SERVER_GENERATION_GENERATE_REQUEST_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "server/catalog/adapter_selection.h"
#include "server/generation/conversation.h"
#include "server/generation/field_problems.h"
#include "server/sampling/sampling_params.h"
#include "server/tokenizer/stream_decoder.h"

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
  ConversationLimits conversation = {};
};

// Nothing, plain text, a conversation, or token ids.
using PromptInput = std::variant<std::monostate, std::string, Conversation, std::vector<int32_t>>;

struct GenerateRequest {
  PromptInput input;
  std::string request_id;                                     // may be empty
  std::optional<std::vector<AdapterSelectionTerm>> adapters;  // nullopt: the default state
  SamplingParams sampling;                                    // seed is 0 unless given
  bool has_seed = false;
  std::optional<int64_t> max_tokens;  // nullopt: the server's limit
  std::vector<int32_t> stop_tokens;
  bool ignore_eos = false;
  StreamDecoder::Options text;          // stop strings
  std::optional<int32_t> top_logprobs;  // nullopt: none; 0: the chosen token's only
  int32_t choices = 1;
  int32_t priority = 0;
  std::optional<bool> speculate;  // whether tokens may be drafted; nullopt: the server's default
};

// Checks everything but what only the tokenizer can judge, and writes out what is implied: a
// max_tokens that is absent is the limit, and the name "base" alone the empty selection.
// INVALID_ARGUMENT lists every problem; the request is of no use then.
absl::Status CheckAndComplete(const RequestLimits& limits, GenerateRequest& request);

// The same for a selection of adapters. Adds what is wrong under `field`.
void CheckSelection(const RequestLimits& limits, std::string_view field,
                    std::vector<AdapterSelectionTerm>& terms, FieldProblems& problems);

}  // namespace shira

#endif  // SHIRA_SERVER_GENERATION_GENERATE_REQUEST_H_
