#include "server/generation/answer.h"

#include <iterator>
#include <utility>

namespace shira {
namespace {

// Short texts are inside of their string.
int64_t HeapBytes(const std::string& text) {
  static const size_t inside = std::string().capacity();
  return text.capacity() > inside ? static_cast<int64_t>(text.capacity()) : 0;
}

int64_t HeapBytes(const TokenLogprobs& logprobs) {
  int64_t bytes = HeapBytes(logprobs.chosen.bytes) +
                  static_cast<int64_t>(logprobs.top.capacity() * sizeof(TokenLogprob));
  for (const TokenLogprob& token : logprobs.top) bytes += HeapBytes(token.bytes);
  return bytes;
}

}  // namespace

void AnswerChunk::Append(AnswerChunk&& next) {
  text += next.text;
  token_ids.insert(token_ids.end(), next.token_ids.begin(), next.token_ids.end());
  logprobs.insert(logprobs.end(), std::make_move_iterator(next.logprobs.begin()),
                  std::make_move_iterator(next.logprobs.end()));
  if (next.finish_reason.has_value()) finish_reason = next.finish_reason;
}

int64_t AnswerChunk::memory_bytes() const {
  auto bytes = static_cast<int64_t>(sizeof(*this) + token_ids.capacity() * sizeof(int32_t) +
                                    logprobs.capacity() * sizeof(TokenLogprobs));
  bytes += HeapBytes(text);
  for (const TokenLogprobs& token : logprobs) bytes += HeapBytes(token);
  return bytes;
}

int64_t AnswerSummary::completion_tokens() const {
  int64_t tokens = 0;
  for (const AnswerEnd& end : ends) tokens += end.completion_tokens;
  return tokens;
}

}  // namespace shira
