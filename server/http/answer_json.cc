#include "server/http/answer_json.h"

#include <algorithm>
#include <optional>
#include <string_view>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_format.h"
#include "base/strings.h"
#include "server/tokenizer/utf8.h"

namespace shira {
namespace {

std::string_view FinishName(FinishReason reason) {
  return reason == FinishReason::kStop ? "stop" : "length";
}

Json FinishJson(const std::optional<FinishReason>& reason) {
  if (!reason.has_value()) return nullptr;
  return FinishName(*reason);
}

// A token need not be whole characters: then its bytes in hexadecimal, as OpenAI shows them.
std::string TokenText(const std::string& bytes) {
  if (!FirstInvalidUtf8(bytes).has_value()) return bytes;
  std::string text;
  for (const char byte : bytes) {
    absl::StrAppendFormat(&text, "\\x%02x", static_cast<unsigned char>(byte));
  }
  return text;
}

Json ChatToken(const TokenLogprob& token) {
  Json bytes = Json::array();
  for (const char byte : token.bytes) bytes.push_back(static_cast<unsigned char>(byte));
  return {{"token", TokenText(token.bytes)}, {"logprob", token.logprob}, {"bytes", bytes}};
}

Json ChatLogprobs(const std::vector<TokenLogprobs>& tokens) {
  if (tokens.empty()) return nullptr;
  Json content = Json::array();
  for (const TokenLogprobs& token : tokens) {
    Json& entry = content.emplace_back(ChatToken(token.chosen));
    entry["top_logprobs"] = Json::array();
    for (const TokenLogprob& top : token.top) entry["top_logprobs"].push_back(ChatToken(top));
  }
  return {{"content", std::move(content)}, {"refusal", nullptr}};
}

// Keys of an object, so that tokens of other bytes need other names.
std::string CompletionToken(const TokenLogprob& token) {
  const bool is_text = !FirstInvalidUtf8(token.bytes).has_value();
  return is_text ? token.bytes : StrCat("bytes:", TokenText(token.bytes));
}

// `characters`: of the tokens before, and then of these too.
Json CompletionLogprobs(const std::vector<TokenLogprobs>& tokens, int64_t& characters) {
  if (tokens.empty()) return nullptr;
  Json json = {{"text_offset", Json::array()},
               {"token_logprobs", Json::array()},
               {"tokens", Json::array()},
               {"top_logprobs", Json::array()}};
  for (const TokenLogprobs& token : tokens) {
    json["text_offset"].push_back(characters);
    characters += static_cast<int64_t>(CharacterCount(ReplaceInvalidUtf8(token.chosen.bytes)));
    json["token_logprobs"].push_back(token.chosen.logprob);
    json["tokens"].push_back(CompletionToken(token.chosen));
    Json top = Json::object();
    for (const TokenLogprob& entry : token.top) top[CompletionToken(entry)] = entry.logprob;
    // The one that was drawn is always among them.
    if (!token.top.empty()) top[CompletionToken(token.chosen)] = token.chosen.logprob;
    json["top_logprobs"].push_back(std::move(top));
  }
  return json;
}

Json StopReason(const ChoiceOutcome& outcome) {
  const AnswerEnd& end = outcome.end;
  if (!end.stop_string.empty()) return end.stop_string;
  const std::vector<int32_t>& wanted = outcome.wanted_stop_tokens;
  if (!end.stop_token.has_value() ||
      std::find(wanted.begin(), wanted.end(), *end.stop_token) == wanted.end()) {
    return nullptr;
  }
  return *end.stop_token;
}

Json WholeChoice(const AnswerHead& head, int64_t index, const AnswerChunk& answer,
                 const ChoiceOutcome& outcome) {
  Json choice = {{"index", index}};
  if (head.is_chat) {
    choice["message"] = {{"role", "assistant"}, {"content", answer.text}, {"refusal", nullptr}};
    choice["logprobs"] = ChatLogprobs(answer.logprobs);
  } else {
    int64_t characters = 0;
    choice["text"] = outcome.echo + answer.text;
    choice["logprobs"] = CompletionLogprobs(answer.logprobs, characters);
  }
  choice["finish_reason"] = FinishName(outcome.end.reason);
  choice["stop_reason"] = StopReason(outcome);
  return choice;
}

Json AdaptersJson(const std::vector<AdapterRef>& adapters) {
  Json json = Json::array();
  for (const AdapterRef& adapter : adapters) {
    json.push_back({{"name", adapter.name},
                    {"version", adapter.version},
                    {"sha256", adapter.digest.Hex()},
                    {"weight", adapter.weight}});
  }
  return json;
}

double Milliseconds(absl::Duration duration) {
  return static_cast<double>(absl::ToInt64Microseconds(duration)) / 1000.0;
}

Json Head(const AnswerHead& head, std::string_view object) {
  return {{"id", StrCat(head.is_chat ? "chatcmpl-" : "cmpl-", head.request_id)},
          {"object", object},
          {"created", absl::ToUnixSeconds(head.created)},
          {"model", head.model}};
}

}  // namespace

Json UsageJson(const std::vector<AnswerSummary>& summaries) {
  int64_t prompt = 0;
  int64_t completion = 0;
  int64_t cached = 0;
  for (const AnswerSummary& summary : summaries) {
    prompt += static_cast<int64_t>(summary.prompt.size());
    completion += summary.completion_tokens();
    cached += summary.cached_prompt_tokens;
  }
  return {{"prompt_tokens", prompt},
          {"completion_tokens", completion},
          {"total_tokens", prompt + completion},
          {"prompt_tokens_details", {{"cached_tokens", cached}}}};
}

Json DetailsJson(const std::vector<AnswerSummary>& summaries) {
  Json seeds = Json::array();
  Json timings = Json::array();
  for (const AnswerSummary& summary : summaries) {
    for (const AnswerEnd& end : summary.ends) {
      seeds.push_back(end.seed.has_value() ? Json(*end.seed) : Json());
    }
    timings.push_back({{"queue_ms", Milliseconds(summary.timings.queue)},
                       {"switch_ms", Milliseconds(summary.timings.switching)},
                       {"prefill_ms", Milliseconds(summary.timings.prefill)},
                       {"decode_ms", Milliseconds(summary.timings.decode)}});
  }
  return {{"adapters", AdaptersJson(summaries.front().adapters)},
          {"seeds", std::move(seeds)},
          {"timings", std::move(timings)}};
}

Json WholeAnswer(const AnswerHead& head, const std::vector<AnswerChunk>& answers,
                 const std::vector<ChoiceOutcome>& outcomes,
                 const std::vector<AnswerSummary>& summaries) {
  Json json = Head(head, head.is_chat ? "chat.completion" : "text_completion");
  json["choices"] = Json::array();
  for (size_t i = 0; i < answers.size(); ++i) {
    json["choices"].push_back(WholeChoice(head, static_cast<int64_t>(i), answers[i], outcomes[i]));
  }
  json["usage"] = UsageJson(summaries);
  json["shira"] = DetailsJson(summaries);
  return json;
}

AnswerStream::AnswerStream(AnswerHead head, bool with_usage, std::vector<std::string> echoes)
    : head_(std::move(head)), with_usage_(with_usage) {
  for (std::string& echo : echoes) choices_.push_back({.echo = std::move(echo)});
}

Json AnswerStream::Envelope(Json choices) const {
  Json json = Head(head_, head_.is_chat ? "chat.completion.chunk" : "text_completion");
  json["choices"] = std::move(choices);
  if (with_usage_) json["usage"] = nullptr;
  return json;
}

std::string AnswerStream::Events(const AnswerChunk& chunk) {
  Choice& choice = choices_[chunk.choice];
  const bool is_first = !std::exchange(choice.started, true);
  const std::string text = std::exchange(choice.echo, std::string()) + chunk.text;
  // Tokens that end no character.
  if (!is_first && text.empty() && chunk.logprobs.empty() && !chunk.finish_reason.has_value()) {
    return "";
  }
  Json json = {{"index", chunk.choice}};
  if (head_.is_chat) {
    Json delta = Json::object();
    if (is_first) delta["role"] = "assistant";
    if (is_first || !text.empty()) delta["content"] = text;
    json["delta"] = std::move(delta);
    json["logprobs"] = ChatLogprobs(chunk.logprobs);
  } else {
    json["text"] = text;
    json["logprobs"] = CompletionLogprobs(chunk.logprobs, choice.characters);
  }
  json["finish_reason"] = FinishJson(chunk.finish_reason);
  return EventOf(Envelope(Json::array({std::move(json)})));
}

std::string AnswerStream::Last(const std::vector<AnswerSummary>& summaries) const {
  std::string text;
  if (with_usage_) {
    Json json = Envelope(Json::array());
    json["usage"] = UsageJson(summaries);
    json["shira"] = DetailsJson(summaries);
    text = EventOf(json);
  }
  return text + "data: [DONE]\n\n";
}

std::string EventOf(const Json& json) { return StrCat("data: ", JsonText(json), "\n\n"); }

}  // namespace shira
