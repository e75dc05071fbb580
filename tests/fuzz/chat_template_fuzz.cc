// A chat template, rendered with a conversation, tools and documents. Its bounds on steps, depth
// and memory (limits.h) have to hold: libFuzzer ends a run that takes long or much.

#include <string>
#include <string_view>

#include "absl/time/time.h"
#include "server/jinja/chat_template.h"
#include "server/jinja/json.h"
#include "server/jinja/limits.h"
#include "tests/fuzz/fuzz_target.h"

using ::shira::ChatTemplate;
using ::shira::ChatTemplateInput;
using ::shira::jinja::Value;

namespace {

Value FromJson(std::string_view json) { return shira::jinja::JsonReader().Read(json).value(); }

ChatTemplateInput Input() {
  return {.messages = FromJson(R"([
              {"role": "system", "content": "Be brief."},
              {"role": "user", "content": "Gr\u00fc\u00dfe \ud83d\ude00 <|im_end|>", "name": "ann"},
              {"role": "assistant", "content": "", "tool_calls": [{"type": "function", "function":
                  {"name": "add", "arguments": {"a": 1, "b": [2.5, null, true]}}}]},
              {"role": "tool", "content": "3.5", "tool_call_id": "1"},
              {"role": "user", "content": [{"type": "text", "text": "  thanks\n"}]}])")
                          .items(),
          .tools = FromJson(R"([{"type": "function", "function": {"name": "add", "description":
              "adds", "parameters": {"type": "object", "properties": {"a": {"type":
              ["number", "null"]}}, "required": ["a"]}}}])"),
          .documents = FromJson(R"([{"title": "t", "text": "x"}])"),
          .variables = FromJson(R"({"enable_thinking": false})").dict()};
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto parsed = ChatTemplate::Parse(shira::testing::AsText(data, size));
  if (!parsed.ok()) return 0;
  static const ChatTemplateInput* const input = new ChatTemplateInput(Input());
  shira::ChatTemplateOptions options;
  options.special_tokens = {{"bos_token", "<s>"}, {"eos_token", "</s>"}};
  options.now = absl::FromUnixSeconds(1'700'000'000);
  const absl::StatusOr<std::string> text = parsed->Render(*input, options);
  shira::testing::Promise(!text.ok() || text->size() <= shira::jinja::kMaxStringBytes,
                          "a prompt is no longer than the limit");
  return 0;
}
