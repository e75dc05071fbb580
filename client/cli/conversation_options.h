// File: client/cli/conversation_options.h
//
// The options that say what a conversation begins with and what its chat template gets beside it.

#ifndef SHIRA_CLIENT_CLI_CONVERSATION_OPTIONS_H_
#define SHIRA_CLIENT_CLI_CONVERSATION_OPTIONS_H_

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "shira/v1/inference.pb.h"

namespace shira::cli {

// Empty: not given.
struct ConversationOptions {
  std::string system;              // a message's text
  std::string messages_file;       // an array of messages (chat_json.h)
  std::string tools_file;          // an array of objects
  std::string documents_file;      // the same
  std::string template_variables;  // one object
};

// `options` has to outlive `app`. Returns those that only say more about a conversation: all but
// --messages.
std::vector<const CLI::Option*> AddConversationOptions(CLI::App& app, ConversationOptions& options);

// Refuses the command line (by an exception for CLI11) where one of these options was given.
// `needed`: what it needs. For App::parse_complete_callback().
void RefuseOptions(const std::vector<const CLI::Option*>& options, const std::string& needed);

// Adds a message.
void AddMessage(absl::string_view role, absl::string_view content, v1::ChatInput& chat);

// What the options say, with the system message first. An error, with the file's name, for a file
// that cannot be read or does not hold what it should.
absl::StatusOr<v1::ChatInput> ReadConversation(const ConversationOptions& options);

}  // namespace shira::cli

#endif  // SHIRA_CLIENT_CLI_CONVERSATION_OPTIONS_H_
