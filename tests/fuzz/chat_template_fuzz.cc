// A chat template, rendered with a conversation, tools and documents. Its bounds on steps, depth
// and memory (jinja_limits.h) have to hold: libFuzzer ends a run that takes long or much.

#include <vector>

#include "absl/time/time.h"
#include "server/jinja/chat_template.h"
#include "server/jinja/limits.h"
#include "tests/fuzz/fuzz_target.h"

using ::shira::ChatMessage;
using ::shira::ChatTemplate;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto parsed = ChatTemplate::Parse(shira::testing::AsText(data, size));
  if (!parsed.ok()) return 0;
  static const std::vector<ChatMessage>* const messages = new std::vector<ChatMessage>{
      {"system", "Be brief.", "{}"},
      {"user", "Gr\u00fc\u00dfe \U0001f600 <|im_end|>", R"({"name": "ann"})"},
      {"assistant", "", R"({"tool_calls": [{"type": "function", "function":
          {"name": "add", "arguments": {"a": 1, "b": [2.5, null, true]}}}]})"},
      {"tool", "3.5", R"({"tool_call_id": "1"})"},
      {"user", "  thanks\n", "{}"},
  };
  shira::ChatTemplateOptions options;
  options.special_tokens = {{"bos_token", "<s>"}, {"eos_token", "</s>"}};
  options.now = absl::FromUnixSeconds(1'700'000'000);
  options.extra_variables_json = R"({"tools": [{"type": "function", "function": {"name": "add",
      "description": "adds", "parameters": {"type": "object", "properties": {"a": {"type":
      ["number", "null"]}}, "required": ["a"]}}}], "documents": [{"title": "t", "text": "x"}],
      "enable_thinking": false})";
  const absl::StatusOr<std::string> text = parsed->Render(*messages, options);
  shira::testing::Promise(!text.ok() || text->size() <= shira::jinja::kMaxStringBytes,
                          "a prompt is no longer than the limit");
  return 0;
}
