// File: server/http/answer_json.h
//
// Answers as OpenAI's API writes them: whole, and as the chunks of a stream.

#ifndef SHIRA_SERVER_HTTP_ANSWER_JSON_H_
#define SHIRA_SERVER_HTTP_ANSWER_JSON_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "server/generation/answer.h"
#include "server/http/json_body.h"

namespace shira {

// What all parts of one response have.
struct AnswerHead {
  bool is_chat = true;  // /v1/chat/completions, or /v1/completions
  std::string request_id = {};
  std::string model = {};
  absl::Time created = {};
};

// What became of one choice, beside its end.
struct ChoiceOutcome {
  AnswerEnd end;
  std::string echo = {};                         // precedes the text
  std::vector<int32_t> wanted_stop_tokens = {};  // of the request: others end silently
};

// The usage of all generations of a call, which each had a prompt.
Json UsageJson(const std::vector<AnswerSummary>& summaries);

// What only this server tells: which adapters have made the answer, seeds and times.
Json DetailsJson(const std::vector<AnswerSummary>& summaries);

// `answers` and `outcomes` by choice.
Json WholeAnswer(const AnswerHead& head, const std::vector<AnswerChunk>& answers,
                 const std::vector<ChoiceOutcome>& outcomes,
                 const std::vector<AnswerSummary>& summaries);

// The chunks of one stream. Thread-compatible.
class AnswerStream {
 public:
  // `with_usage`: the last chunk has usage, and the others say that they have none. `echoes`: by
  // choice, what precedes its text.
  AnswerStream(AnswerHead head, bool with_usage, std::vector<std::string> echoes);

  // As server-sent events; empty, if the chunk has nothing to say.
  std::string Events(const AnswerChunk& chunk);
  // Behind the last chunk: usage, if it is wanted, and "[DONE]".
  std::string Last(const std::vector<AnswerSummary>& summaries) const;

 private:
  struct Choice {
    std::string echo;
    bool started = false;
    int64_t characters = 0;  // of the tokens so far, for text_offset
  };

  Json Envelope(Json choices) const;

  const AnswerHead head_;
  const bool with_usage_;
  std::vector<Choice> choices_;
};

// "data: {...}\n\n"
std::string EventOf(const Json& json);

}  // namespace shira

#endif  // SHIRA_SERVER_HTTP_ANSWER_JSON_H_
