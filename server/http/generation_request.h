// File: server/http/generation_request.h
//
// The bodies of /v1/chat/completions and /v1/completions to the native request. Pure functions; only
// what JSON can get wrong is checked here, the rest where requests of all front ends are
// (server/generation/generate_request.h). docs/http.md says what each field does.

#ifndef SHIRA_SERVER_HTTP_GENERATION_REQUEST_H_
#define SHIRA_SERVER_HTTP_GENERATION_REQUEST_H_

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "server/generation/conversation.h"
#include "server/generation/generate_request.h"
#include "server/http/json_body.h"
#include "server/http/json_fields.h"

namespace shira {

// What a client wants to have generated.
struct HttpGeneration {
  GenerateRequest request;           // without its input
  std::vector<PromptInput> prompts;  // one generation each, with request.choices answers
  std::string model;                 // for the answer: as the client wrote it, or else the base's
  bool stream = false;
  bool include_usage = false;  // in a stream's last chunk
  bool echo = false;           // the prompt before the answer
};

// INVALID_ARGUMENT, reason INVALID_REQUEST, with every problem. `base_name`: of the model.
absl::StatusOr<HttpGeneration> ParseChatRequest(const Json& body, std::string_view base_name);
absl::StatusOr<HttpGeneration> ParseCompletionRequest(const Json& body, std::string_view base_name);

// The fields that say what a chat template sees: messages, tools, tool_choice, documents,
// chat_template_kwargs, reasoning_effort, add_generation_prompt, continue_final_message.
Conversation ReadConversation(JsonFields& fields, FieldProblems& problems);

}  // namespace shira

#endif  // SHIRA_SERVER_HTTP_GENERATION_REQUEST_H_
