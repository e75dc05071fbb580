// File: client/cli/chat_json.h
//
// Messages of a conversation as JSON, in the form of OpenAI's API and of transformers'
// apply_chat_template. Pure functions.

#ifndef SHIRA_CLIENT_CLI_CHAT_JSON_H_
#define SHIRA_CLIENT_CLI_CHAT_JSON_H_

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "client/cli/json_output.h"
#include "shira/v1/inference.pb.h"

namespace shira::cli {

// The value of a JSON text, whose dump() says the same: keys in their order, numbers as they were.
// INVALID_ARGUMENT with the place for what is no JSON, and for what would not stay the same:
// integers of more than 64 bits, and nesting in more than 64 levels.
absl::StatusOr<Json> ParseJson(absl::string_view text);

// One message. What ChatMessage has a field for goes there, everything else into more_fields_json,
// so that the template sees what it would see from transformers. The arguments of a tool call can
// be an object or, as OpenAI's API has them, the text of one: the template sees an object. Fields
// that are null are left out.
// INVALID_ARGUMENT for what is no object with a role.
absl::StatusOr<v1::ChatMessage> MessageFromJson(const Json& json);

// What MessageFromJson() makes the same message of.
Json ToJson(const v1::ChatMessage& message);

}  // namespace shira::cli

#endif  // SHIRA_CLIENT_CLI_CHAT_JSON_H_
