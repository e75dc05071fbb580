// File: server/generation/conversation.h
//
// A conversation as a client gives it, and what a chat template sees of it: the values that
// transformers' apply_chat_template passes on. Pure functions.

#ifndef SHIRA_SERVER_GENERATION_CONVERSATION_H_
#define SHIRA_SERVER_GENERATION_CONVERSATION_H_

#include <cstddef>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "server/generation/field_problems.h"
#include "server/jinja/chat_template.h"

namespace shira {

// A piece of a message's content.
struct ContentPart {
  std::optional<std::string> text;  // nullopt: of a kind that is not known, which is refused
};

// A function that the assistant has called.
struct ToolCall {
  std::string id;  // empty: none
  std::string name;
  std::string arguments_json;  // one JSON object; empty: {}
};

// What is absent is not seen by the template.
struct ChatMessage {
  std::string role;
  std::variant<std::monostate, std::string, std::vector<ContentPart>> content = {};
  std::optional<std::string> reasoning_content = {};
  std::vector<ToolCall> tool_calls = {};
  std::optional<std::string> tool_call_id = {};  // of the call that a message answers
  std::optional<std::string> name = {};
  // One JSON object of other fields, of which those that are null do not count; empty: none.
  std::string more_fields_json = {};
};

// Rendered with the model's chat template.
struct Conversation {
  std::vector<ChatMessage> messages;
  // The prompt ends where the last message's content ends.
  bool continue_last_message = false;
  std::vector<std::string> tools_json = {};      // one JSON object each
  std::vector<std::string> documents_json = {};  // the same
  std::string template_variables_json = {};      // one JSON object; empty: none
};

struct ConversationLimits {
  size_t max_messages = 10'000;
  size_t max_content_parts = 1024;  // of one message
  size_t max_tool_calls = 256;      // of one message
  size_t max_tools = 1024;
  size_t max_documents = 1024;
};

// Adds to `problems` what is missing or too many, by the fields' names in the API. Reads no JSON, so
// it costs little.
void CheckConversation(const ConversationLimits& limits, const Conversation& chat,
                       FieldProblems& problems);

// Of all texts.
size_t TextBytes(const Conversation& chat);

// What the template sees. INVALID_ARGUMENT, reason INVALID_REQUEST, with the first field at fault:
// text that is not UTF-8, JSON that is malformed, is no object or is past the bounds of
// JsonReader, and what is given twice. REQUIRES: CheckConversation() found nothing.
absl::StatusOr<ChatTemplateInput> SeenByTemplate(const Conversation& chat);

}  // namespace shira

#endif  // SHIRA_SERVER_GENERATION_CONVERSATION_H_
