// File: server/tokenizer/gguf_pre_tokenizers.h
//
// The pre-tokenizers that "tokenizer.ggml.pre" of a GGUF file can name. The file holds only the
// name: the rule behind it is the one of llama.cpp (src/llama-vocab.cpp). A further one is one line
// in the table of the .cc file.

#ifndef SHIRA_SERVER_TOKENIZER_GGUF_PRE_TOKENIZERS_H_
#define SHIRA_SERVER_TOKENIZER_GGUF_PRE_TOKENIZERS_H_

#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "server/tokenizer/pre_tokenizer.h"

namespace shira {

struct GgufPreTokenizer {
  std::string_view name;
  // Applied one after the other, each to the pieces of the one before; matches and what lies
  // between them become pieces.
  absl::Span<const std::string_view> patterns;
  // A piece that is a token is not merged.
  bool ignore_merges = false;
  // What an absent "tokenizer.ggml.add_bos_token" means.
  bool add_bos = false;
};

// The whole table.
absl::Span<const GgufPreTokenizer> GgufPreTokenizers();

// nullptr when the table does not have it.
const GgufPreTokenizer* FindGgufPreTokenizer(std::string_view name);

// The rule as a component; ends in the byte-level alphabet.
absl::StatusOr<std::unique_ptr<const PreTokenizer>> MakeGgufPreTokenizer(
    const GgufPreTokenizer& rule);

}  // namespace shira

#endif  // SHIRA_SERVER_TOKENIZER_GGUF_PRE_TOKENIZERS_H_
