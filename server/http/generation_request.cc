#include "server/http/generation_request.h"

#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <utility>

#include "absl/strings/numbers.h"
#include "base/excerpt.h"
#include "base/status_macros.h"
#include "base/strings.h"
#include "server/http/model_choice.h"

namespace shira {
namespace {

// What /v1/completions generates where max_tokens is absent, as OpenAI's.
constexpr int64_t kDefaultCompletionTokens = 16;
// Where temperature is absent, as OpenAI's.
constexpr double kDefaultTemperature = 1.0;
// Each is a generation, and has to find room in its client's queue.
constexpr size_t kMaxPrompts = 1024;

std::string Indexed(std::string_view field, size_t index) { return StrCat(field, "[", index, "]"); }

float ToFloat(double value) { return static_cast<float>(value); }

void ReadLogitBias(JsonFields& fields, SamplingParams& params) {
  const Json* biases = fields.Find("logit_bias");
  if (biases == nullptr) return;
  if (!biases->is_object()) {
    return fields.Problem("logit_bias", "expected an object of token ids and numbers");
  }
  for (const auto& [id, bias] : biases->items()) {
    int32_t token = 0;
    if (!absl::SimpleAtoi(id, &token) || !bias.is_number()) {
      return fields.Problem("logit_bias", StrCat("expected \"TOKEN_ID\": NUMBER, found \"",
                                                 Excerpt(id, kMaxNameBytes), "\": ", KindOf(bias)));
    }
    params.logit_bias.emplace_back(token, ToFloat(bias.get<double>()));
  }
}

void ReadSampling(JsonFields& fields, GenerateRequest& request) {
  SamplingParams& params = request.sampling;
  params.temperature = ToFloat(fields.Number("temperature").value_or(kDefaultTemperature));
  params.top_p = ToFloat(fields.Number("top_p").value_or(params.top_p));
  params.top_k = fields.Int32("top_k").value_or(params.top_k);
  if (params.top_k == -1) params.top_k = 0;  // vLLM's way to say: all
  params.min_p = ToFloat(fields.Number("min_p").value_or(params.min_p));
  params.repetition_penalty =
      ToFloat(fields.Number("repetition_penalty").value_or(params.repetition_penalty));
  params.presence_penalty =
      ToFloat(fields.Number("presence_penalty").value_or(params.presence_penalty));
  params.frequency_penalty =
      ToFloat(fields.Number("frequency_penalty").value_or(params.frequency_penalty));
  ReadLogitBias(fields, params);
  // An answer's seed may be given back: it has all of 64 bits.
  if (const Json* seed = fields.Find("seed"); seed != nullptr && seed->is_number_unsigned()) {
    params.seed = seed->get<uint64_t>();
    request.has_seed = true;
  } else if (const std::optional<int64_t> seed = fields.Integer("seed"); seed.has_value()) {
    params.seed = static_cast<uint64_t>(*seed);
    request.has_seed = true;
  }
}

void ReadStopStrings(JsonFields& fields, GenerateRequest& request) {
  const Json* stop = fields.Find("stop");
  if (stop == nullptr) return;
  const Json texts = stop->is_array() ? *stop : Json::array({*stop});
  for (const Json& text : texts) {
    if (!text.is_string()) {
      return fields.Problem("stop", StrCat("expected a string or strings, found ", KindOf(text)));
    }
    request.text.stop_strings.push_back(text.get<std::string>());
  }
}

// Either name may be used; both, if they agree.
void ReadMaxTokens(JsonFields& fields, GenerateRequest& request) {
  const std::optional<int64_t> older = fields.Integer("max_tokens");
  const std::optional<int64_t> newer = fields.Integer("max_completion_tokens");
  if (older.has_value() && newer.has_value() && older != newer) {
    fields.Problem("max_completion_tokens",
                   StrCat("is ", *newer, ", and max_tokens says ", *older));
  }
  request.max_tokens = newer.has_value() ? newer : older;
}

void ReadStop(JsonFields& fields, FieldProblems& problems, GenerateRequest& request) {
  ReadStopStrings(fields, request);
  if (const Json* ids = fields.List("stop_token_ids")) {
    request.stop_tokens = Int32List(*ids, "stop_token_ids", problems).value_or(request.stop_tokens);
  }
  request.text.include_stop_string = fields.Boolean("include_stop_str_in_output").value_or(false);
  request.text.skip_special_tokens = fields.Boolean("skip_special_tokens").value_or(true);
  request.ignore_eos = fields.Boolean("ignore_eos").value_or(false);
}

void ReadStream(JsonFields& fields, FieldProblems& problems, HttpGeneration& generation) {
  generation.stream = fields.Boolean("stream").value_or(false);
  const Json* options = fields.Find("stream_options");
  if (options == nullptr) return;
  if (!generation.stream) fields.Problem("stream_options", "needs \"stream\": true");
  JsonFields inner(*options, "stream_options", problems);
  generation.include_usage = inner.Boolean("include_usage").value_or(false);
  inner.Only("include_obfuscation", false, "chunks are sent as they are");
  inner.Only("continuous_usage_stats", false, "usage comes at the end");
  inner.RefuseOthers();
}

// vLLM's lower numbers go first, ours the higher ones.
void ReadPriority(JsonFields& fields, GenerateRequest& request) {
  const std::optional<int32_t> priority = fields.Int32("priority");
  if (!priority.has_value()) return;
  if (*priority == std::numeric_limits<int32_t>::min()) {
    return fields.Problem("priority", "has more than 31 bits");
  }
  request.priority = -*priority;
}

// What both endpoints have.
void ReadCommonFields(JsonFields& fields, std::string_view base_name, FieldProblems& problems,
                      HttpGeneration& generation) {
  GenerateRequest& request = generation.request;
  generation.model = base_name;
  if (const std::optional<std::string> model = fields.Text("model"); model.has_value()) {
    generation.model = *model;
    request.adapters = ParseModelChoice(*model, base_name, problems);
  }
  ReadSampling(fields, request);
  ReadStop(fields, problems, request);
  ReadStream(fields, problems, generation);
  ReadPriority(fields, request);
  request.choices = fields.Int32("n").value_or(request.choices);
  request.request_id = fields.Text("request_id").value_or("");
  request.speculate = fields.Boolean("speculate");
  fields.Ignore({"user", "safety_identifier", "prompt_cache_key", "metadata"});
  fields.Only("use_beam_search", false, "tokens are drawn one after the other");
  fields.Only("min_tokens", 0, "an answer may end at once");
  fields.Only("length_penalty", 1.0, "there is no beam search");
  fields.Only("early_stopping", false, "there is no beam search");
  fields.Only("return_tokens_as_token_ids", false, "tokens are given as text");
  fields.Only("spaces_between_special_tokens", true, "the tokenizer says how tokens are joined");
}

std::optional<std::vector<ContentPart>> ReadParts(const Json& list, const std::string& name,
                                                  FieldProblems& problems) {
  std::vector<ContentPart> parts;
  for (const Json& entry : list) {
    JsonFields fields(entry, Indexed(name, parts.size()), problems);
    const std::optional<std::string> type = fields.Text("type");
    if (!type.has_value()) {
      fields.Problem("type", "is missing");
      return std::nullopt;
    }
    // Of another kind: refused with the rest of the request.
    ContentPart& part = parts.emplace_back();
    if (*type != "text") continue;
    part.text = fields.Text("text");
    if (!part.text.has_value()) fields.Problem("text", "is missing");
    fields.RefuseOthers();
  }
  return parts;
}

void ReadContent(JsonFields& fields, FieldProblems& problems, ChatMessage& message) {
  const Json* content = fields.Find("content");
  if (content == nullptr) return;
  if (content->is_string()) {
    message.content = content->get<std::string>();
  } else if (content->is_array()) {
    std::optional<std::vector<ContentPart>> parts =
        ReadParts(*content, fields.NameOf("content"), problems);
    if (parts.has_value()) message.content = *std::move(parts);
  } else {
    fields.Problem("content", StrCat("expected a string or parts, found ", KindOf(*content)));
  }
}

ToolCall ReadToolCall(const Json& json, std::string name, FieldProblems& problems) {
  ToolCall call;
  JsonFields fields(json, std::move(name), problems);
  call.id = fields.Text("id").value_or("");
  fields.Only("type", "function", "there are no others");
  fields.Ignore({"index"});  // of a stream's piece, which clients pass back
  const Json* function = fields.Find("function");
  if (function == nullptr) {
    fields.Problem("function", "is missing");
    return call;
  }
  JsonFields inner(*function, fields.NameOf("function"), problems);
  call.name = inner.Text("name").value_or("");
  if (call.name.empty()) inner.Problem("name", "is missing");
  // OpenAI's is a string that holds JSON; models' own data have the object.
  if (const Json* arguments = inner.Find("arguments")) {
    call.arguments_json =
        arguments->is_string() ? arguments->get<std::string>() : JsonText(*arguments);
  }
  inner.RefuseOthers();
  fields.RefuseOthers();
  return call;
}

ChatMessage ReadMessage(const Json& json, std::string name, FieldProblems& problems) {
  ChatMessage message;
  JsonFields fields(json, std::move(name), problems);
  message.role = fields.Text("role").value_or("");
  if (message.role.empty()) fields.Problem("role", "is missing");
  ReadContent(fields, problems, message);
  message.reasoning_content = fields.Text("reasoning_content");
  if (const Json* calls = fields.List("tool_calls")) {
    for (const Json& call : *calls) {
      message.tool_calls.push_back(ReadToolCall(
          call, Indexed(fields.NameOf("tool_calls"), message.tool_calls.size()), problems));
    }
  }
  message.tool_call_id = fields.Text("tool_call_id");
  message.name = fields.Text("name");
  fields.Only("function_call", nullptr, "tool_calls has taken its place");
  fields.Only("audio", nullptr, "content is text");
  // Clients pass answers back with these.
  fields.Ignore({"refusal", "annotations"});
  fields.RefuseOthers();
  return message;
}

// Of a list of objects, each as its text.
std::vector<std::string> ReadObjects(JsonFields& fields, std::string_view field) {
  std::vector<std::string> texts;
  const Json* list = fields.List(field);
  if (list == nullptr) return texts;
  for (const Json& entry : *list) texts.push_back(JsonText(entry));
  return texts;
}

// Whether the tools are shown to the template.
bool ReadToolChoice(JsonFields& fields) {
  const Json* choice = fields.Find("tool_choice");
  if (choice == nullptr || *choice == "auto") return true;
  if (*choice == "none") return false;
  fields.Problem("tool_choice",
                 "is not supported but for \"auto\" and \"none\": no call can be enforced");
  return false;
}

void ReadTemplateVariables(JsonFields& fields, Conversation& chat) {
  Json variables = Json::object();
  if (const Json* given = fields.Find("chat_template_kwargs")) {
    if (!given->is_object()) {
      return fields.Problem("chat_template_kwargs",
                            StrCat("expected an object, found ", KindOf(*given)));
    }
    variables = *given;
  }
  if (const std::optional<std::string> effort = fields.Text("reasoning_effort")) {
    variables["reasoning_effort"] = *effort;
  }
  if (!variables.empty()) chat.template_variables_json = JsonText(variables);
}

// The field `logprobs` is a switch, and `top_logprobs` says how many.
void ReadChatLogprobs(JsonFields& fields, GenerateRequest& request) {
  const bool wanted = fields.Boolean("logprobs").value_or(false);
  const std::optional<int32_t> top = fields.Int32("top_logprobs");
  if (wanted) {
    request.top_logprobs = top.value_or(0);
  } else if (top.value_or(0) != 0) {
    fields.Problem("top_logprobs", "needs \"logprobs\": true");
  }
}

void RefuseUnsupportedChat(JsonFields& fields) {
  fields.Only("modalities", Json::array({"text"}), "answers are text");
  fields.Only("response_format", Json{{"type", "text"}}, "answers have no given shape");
  fields.Only("store", false, "nothing is kept");
  fields.Only("service_tier", "auto", "there is one tier");
  fields.Only("parallel_tool_calls", true, "calls are part of the answer's text");
  fields.Only("echo", false, "the prompt is not repeated");
  fields.Only("add_special_tokens", false, "the chat template writes them");
}

// A text, texts, token ids, or lists of them.
std::vector<PromptInput> ReadPrompts(JsonFields& fields, FieldProblems& problems) {
  const Json* prompt = fields.Find("prompt");
  if (prompt == nullptr) {
    fields.Problem("prompt", "is missing");
    return {};
  }
  if (prompt->is_string()) return {prompt->get<std::string>()};
  if (!prompt->is_array() || prompt->empty()) {
    fields.Problem("prompt", "expected a string, strings, token ids or lists of these");
    return {};
  }
  if (prompt->front().is_number()) {
    return {Int32List(*prompt, "prompt", problems).value_or(std::vector<int32_t>())};
  }
  if (prompt->size() > kMaxPrompts) {
    fields.Problem("prompt", StrCat("has ", prompt->size(), " entries, more than ", kMaxPrompts));
    return {};
  }
  std::vector<PromptInput> prompts;
  for (const Json& entry : *prompt) {
    const std::string name = Indexed("prompt", prompts.size());
    if (entry.is_string()) {
      prompts.emplace_back(entry.get<std::string>());
    } else if (entry.is_array()) {
      prompts.emplace_back(Int32List(entry, name, problems).value_or(std::vector<int32_t>()));
    } else {
      problems.Add(name, StrCat("expected a string or token ids, found ", KindOf(entry)));
      return {};
    }
  }
  return prompts;
}

}  // namespace

Conversation ReadConversation(JsonFields& fields, FieldProblems& problems) {
  Conversation chat;
  if (const Json* messages = fields.List("messages")) {
    if (const size_t most = ConversationLimits().max_messages; messages->size() > most) {
      fields.Problem("messages", StrCat("has ", messages->size(), " entries, at most ", most));
      return chat;
    }
    for (const Json& message : *messages) {
      chat.messages.push_back(
          ReadMessage(message, Indexed("messages", chat.messages.size()), problems));
    }
  } else {
    fields.Problem("messages", "is missing");
  }
  std::vector<std::string> tools = ReadObjects(fields, "tools");
  if (ReadToolChoice(fields)) chat.tools_json = std::move(tools);
  chat.documents_json = ReadObjects(fields, "documents");
  ReadTemplateVariables(fields, chat);
  chat.continue_last_message = fields.Boolean("continue_final_message").value_or(false);
  // vLLM wants both to be said; the one follows from the other.
  const std::optional<bool> prompts_answer = fields.Boolean("add_generation_prompt");
  if (prompts_answer.has_value() && *prompts_answer && chat.continue_last_message) {
    fields.Problem("add_generation_prompt", "cannot be true with continue_final_message");
  } else if (prompts_answer.has_value() && !*prompts_answer && !chat.continue_last_message) {
    fields.Problem("add_generation_prompt", "cannot be false without continue_final_message");
  }
  return chat;
}

absl::StatusOr<HttpGeneration> ParseChatRequest(const Json& body, std::string_view base_name) {
  FieldProblems problems;
  HttpGeneration generation;
  JsonFields fields(body, "", problems);
  ReadCommonFields(fields, base_name, problems, generation);
  ReadMaxTokens(fields, generation.request);
  ReadChatLogprobs(fields, generation.request);
  generation.prompts.emplace_back(ReadConversation(fields, problems));
  RefuseUnsupportedChat(fields);
  fields.RefuseOthers();
  SHIRA_RETURN_IF_ERROR(problems.ToStatus());
  return generation;
}

absl::StatusOr<HttpGeneration> ParseCompletionRequest(const Json& body,
                                                      std::string_view base_name) {
  FieldProblems problems;
  HttpGeneration generation;
  GenerateRequest& request = generation.request;
  JsonFields fields(body, "", problems);
  ReadCommonFields(fields, base_name, problems, generation);
  request.max_tokens = fields.Integer("max_tokens").value_or(kDefaultCompletionTokens);
  request.top_logprobs = fields.Int32("logprobs");
  generation.prompts = ReadPrompts(fields, problems);
  generation.echo = fields.Boolean("echo").value_or(false);
  if (generation.echo && request.top_logprobs.has_value()) {
    fields.Problem("logprobs", "is not supported with echo: prompts have none");
  }
  fields.Only("best_of", request.choices, "all answers are given");
  fields.Only("suffix", "", "answers follow their prompt alone");
  fields.Only("add_special_tokens", true, "a prompt is what the tokenizer makes of it");
  fields.RefuseOthers();
  SHIRA_RETURN_IF_ERROR(problems.ToStatus());
  return generation;
}

}  // namespace shira
