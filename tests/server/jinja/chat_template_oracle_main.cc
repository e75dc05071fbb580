// The C++ side of chat_template_oracle.py: one JSON request per line on the standard input, one
// JSON reply per line on the standard output.
//
// Request: {"template": text, "variables": {...}, "now": seconds since 1970}, or with "messages":
// [{"role", "content", ...}] and "options": {"add_generation_prompt", "continue_last_message",
// "special_tokens": {name: text}, "extra": {...}} instead of "variables" to go through
// ChatTemplate. Reply: {"text": ...} or {"error": message, "code": name, "stage": "parse" or
// "render"}.

#include <iostream>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "nlohmann/json.hpp"
#include "server/jinja/chat_template.h"
#include "server/jinja/interpreter.h"
#include "server/jinja/json.h"
#include "server/jinja/parser.h"

namespace {

using Json = nlohmann::ordered_json;

Json Failure(const absl::Status& status, const char* stage) {
  return Json{{"error", std::string(status.message())},
              {"code", absl::StatusCodeToString(status.code())},
              {"stage", stage}};
}

Json Reply(const absl::StatusOr<std::string>& text) {
  if (!text.ok()) return Failure(text.status(), "render");
  return Json{{"text", *text}};
}

Json RenderChat(const Json& request, absl::Time now) {
  const absl::StatusOr<shira::ChatTemplate> chat =
      shira::ChatTemplate::Parse(request["template"].get<std::string>());
  if (!chat.ok()) return Failure(chat.status(), "parse");
  std::vector<shira::ChatMessage> messages;
  for (const Json& fields : request["messages"]) {
    Json extra = fields;
    extra.erase("role");
    extra.erase("content");
    messages.push_back({fields["role"], fields["content"], extra.dump()});
  }
  const Json& given = request["options"];
  shira::ChatTemplateOptions options;
  options.add_generation_prompt = given["add_generation_prompt"];
  for (const auto& [name, text] : given["special_tokens"].items()) {
    options.special_tokens.push_back({name, text.get<std::string>()});
  }
  options.continue_last_message = given.value("continue_last_message", false);
  options.extra_variables_json = given.value("extra", Json::object()).dump();
  options.now = now;
  return Reply(chat->Render(messages, options));
}

Json RenderPlain(const Json& request, absl::Time now) {
  const absl::StatusOr<shira::jinja::Block> block =
      shira::jinja::ParseTemplate(request["template"].get<std::string>());
  if (!block.ok()) return Failure(block.status(), "parse");
  const absl::StatusOr<shira::jinja::Value> variables =
      shira::jinja::ParseJson(request["variables"].dump());
  if (!variables.ok()) return Failure(variables.status(), "variables");
  return Reply(shira::jinja::RenderTemplate(*block, variables->dict(), now));
}

}  // namespace

int main() {
  std::ios::sync_with_stdio(false);
  for (std::string line; std::getline(std::cin, line);) {
    const Json request = Json::parse(line);
    const absl::Time now = absl::FromUnixSeconds(request["now"].get<int64_t>());
    const Json reply =
        request.contains("messages") ? RenderChat(request, now) : RenderPlain(request, now);
    std::cout << reply.dump(-1, ' ', true) << std::endl;
  }
  return 0;
}
