// File: server/tokenizer/gguf_special_tokens.h
//
// What role each token of a GGUF vocabulary plays. The metadata say part of it; the rest llama.cpp
// tells by the tokens' texts, and generations must end where llama.cpp ends them.

#ifndef SHIRA_SERVER_TOKENIZER_GGUF_SPECIAL_TOKENS_H_
#define SHIRA_SERVER_TOKENIZER_GGUF_SPECIAL_TOKENS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "base/gguf_file.h"

namespace shira {

// The numbers of "tokenizer.ggml.token_type".
enum class GgufTokenType : int64_t {
  kUndefined = 0,
  kNormal = 1,
  kUnknown = 2,
  kControl = 3,
  kUserDefined = 4,
  kUnused = 5,
  kByte = 6,
};

struct GgufSpecialTokens {
  std::vector<GgufTokenType> types;  // by id
  std::optional<int32_t> bos_id;
  std::optional<int32_t> eos_id;
  std::optional<int32_t> unknown_id;
  // Every token that chat templates have a name for, bos and eos among them.
  std::vector<std::pair<std::string, int32_t>> named_ids;
  std::vector<int32_t> end_of_generation_ids;  // sorted
};

// The ids that count where the metadata give none.
struct GgufDefaultIds {
  std::optional<int32_t> bos;
  std::optional<int32_t> eos;
  std::optional<int32_t> unknown;
};

// `tokens` are the texts by id; a default id outside of them counts for nothing. Without
// "tokenizer.ggml.token_type" every token is normal. INVALID_ARGUMENT for metadata of the wrong
// type, fewer types than tokens, or an id outside of the vocabulary.
absl::StatusOr<GgufSpecialTokens> ReadGgufSpecialTokens(const GgufFile& gguf,
                                                        const std::vector<std::string>& tokens,
                                                        const GgufDefaultIds& defaults);

}  // namespace shira

#endif  // SHIRA_SERVER_TOKENIZER_GGUF_SPECIAL_TOKENS_H_
