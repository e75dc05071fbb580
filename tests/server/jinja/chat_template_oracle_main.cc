// The C++ side of chat_template_oracle.py: one JSON request per line on the standard input, one
// JSON reply per line on the standard output.
//
// Request: {"template": text, "variables": {...}, "now": seconds since 1970}, or with "messages":
// [{"role", "content", ...}] and "options": {"add_generation_prompt", "continue_last_message",
// "special_tokens": {name: text}, "extra": {"tools", "documents", and other variables}} instead of
// "variables" to go through ChatTemplate. Reply: {"text": ...} or {"error": message, "code": name, "stage": "parse" or
// "render"}.

#include <iostream>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "nlohmann/json.hpp"
#include "server/jinja/chat_template.h"
#include "server/jinja/interpreter.h"
#include "server/jinja/json.h"
#include "server/jinja/parser.h"
#include "server/jinja/value.h"

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

// REQUIRES: the text is JSON within the bounds of JsonReader.
shira::jinja::Value ToValue(const Json& json) {
  return shira::jinja::JsonReader().Read(json.dump()).value();
}

Json RenderChat(const Json& request, absl::Time now) {
  const absl::StatusOr<shira::ChatTemplate> chat =
      shira::ChatTemplate::Parse(request["template"].get<std::string>());
  if (!chat.ok()) return Failure(chat.status(), "parse");
  shira::ChatTemplateInput input;
  for (const Json& message : request["messages"]) input.messages.push_back(ToValue(message));
  const Json& given = request["options"];
  Json extra = given.value("extra", Json::object());
  if (extra.contains("tools")) input.tools = ToValue(extra["tools"]);
  if (extra.contains("documents")) input.documents = ToValue(extra["documents"]);
  extra.erase("tools");
  extra.erase("documents");
  input.variables = ToValue(extra).dict();
  shira::ChatTemplateOptions options;
  options.add_generation_prompt = given["add_generation_prompt"];
  for (const auto& [name, text] : given["special_tokens"].items()) {
    options.special_tokens.push_back({name, text.get<std::string>()});
  }
  options.continue_last_message = given.value("continue_last_message", false);
  options.now = now;
  return Reply(chat->Render(std::move(input), options));
}

Json RenderPlain(const Json& request, absl::Time now) {
  const absl::StatusOr<shira::jinja::Block> block =
      shira::jinja::ParseTemplate(request["template"].get<std::string>());
  if (!block.ok()) return Failure(block.status(), "parse");
  return Reply(shira::jinja::RenderTemplate(*block, ToValue(request["variables"]).dict(), now));
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
