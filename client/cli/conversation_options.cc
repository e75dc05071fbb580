#include "client/cli/conversation_options.h"

#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "client/cli/chat_json.h"
#include "client/cli/text_input.h"

namespace shira::cli {
namespace {

absl::Status InFile(const std::string& path, const absl::Status& status) {
  return absl::Status(status.code(), absl::StrCat(path, ": ", status.message()));
}

absl::StatusOr<Json> ReadArray(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream content;
  if (file) content << file.rdbuf();
  if (!file) return absl::NotFoundError(absl::StrCat(path, ": ", std::strerror(errno)));
  absl::StatusOr<Json> json = ParseJson(content.str());
  if (!json.ok()) return InFile(path, json.status());
  if (!json->is_array()) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": expected a JSON array"));
  }
  return json;
}

absl::Status AddMessages(const std::string& path, v1::ChatInput& chat) {
  const absl::StatusOr<Json> array = ReadArray(path);
  if (!array.ok()) return array.status();
  for (size_t i = 0; i < array->size(); ++i) {
    absl::StatusOr<v1::ChatMessage> message = MessageFromJson((*array)[i]);
    if (!message.ok()) return InFile(absl::StrCat(path, ": message ", i), message.status());
    *chat.add_messages() = *std::move(message);
  }
  return absl::OkStatus();
}

absl::Status AddObjects(const std::string& path,
                        google::protobuf::RepeatedPtrField<std::string>& texts) {
  const absl::StatusOr<Json> array = ReadArray(path);
  if (!array.ok()) return array.status();
  for (const Json& item : *array) *texts.Add() = item.dump();
  return absl::OkStatus();
}

}  // namespace

std::vector<const CLI::Option*> AddConversationOptions(CLI::App& app,
                                                       ConversationOptions& options) {
  app.add_option("--messages", options.messages_file,
                 "The conversation so far: a file with a JSON array, as `messages` of OpenAI's API")
      ->type_name("FILE");
  return {
      app.add_option("--system", options.system, "System message of the conversation")
          ->type_name("TEXT"),
      app.add_option("--tools", options.tools_file,
                     "Functions that the model may call: a file with a JSON array, as `tools` of "
                     "OpenAI's API")
          ->type_name("FILE"),
      app.add_option("--documents", options.documents_file,
                     "Documents to answer from: a file with a JSON array of objects")
          ->type_name("FILE"),
      app.add_option("--template-variables", options.template_variables,
                     "More variables for the chat template: '{\"enable_thinking\": false}'")
          ->type_name("JSON")};
}

void RefuseOptions(const std::vector<const CLI::Option*>& options, const std::string& needed) {
  for (const CLI::Option* option : options) {
    if (option->count() > 0) throw CLI::RequiresError(option->get_name(), needed);
  }
}

void AddMessage(absl::string_view role, absl::string_view content, v1::ChatInput& chat) {
  v1::ChatMessage* message = chat.add_messages();
  message->set_role(std::string(role));
  message->set_content(std::string(content));
}

absl::StatusOr<v1::ChatInput> ReadConversation(const ConversationOptions& options) {
  v1::ChatInput chat;
  for (const std::string& text : {options.system, options.template_variables}) {
    if (absl::Status status = CheckUtf8(text); !status.ok()) return status;
  }
  if (!options.system.empty()) AddMessage("system", options.system, chat);
  chat.set_template_variables_json(options.template_variables);
  absl::Status status;
  if (!options.messages_file.empty()) status.Update(AddMessages(options.messages_file, chat));
  if (!options.tools_file.empty()) {
    status.Update(AddObjects(options.tools_file, *chat.mutable_tools_json()));
  }
  if (!options.documents_file.empty()) {
    status.Update(AddObjects(options.documents_file, *chat.mutable_documents_json()));
  }
  if (!status.ok()) return status;
  return chat;
}

}  // namespace shira::cli
