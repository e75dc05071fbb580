// File: server/tokenizer/tokenizer.h
//
// Text to token ids and back, with the nouns of tokenizer.json: added vocabulary, normalizer,
// pre-tokenizer, model, post-processor, decoder. Built from a Hugging Face folder
// or from the metadata of a GGUF file.
//
//   SHIRA_ASSIGN_OR_RETURN(auto tokenizer, Tokenizer::FromHuggingFace("/models/smollm2"));
//   SHIRA_ASSIGN_OR_RETURN(auto ids, tokenizer->Encode("Hello", {.add_special_tokens = true}));

#ifndef SHIRA_SERVER_TOKENIZER_TOKENIZER_H_
#define SHIRA_SERVER_TOKENIZER_TOKENIZER_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "base/gguf_file.h"

namespace shira {

struct EncodeOptions {
  // Adds what the post-processor (or the GGUF's add_bos_token / add_eos_token) adds around a text.
  bool add_special_tokens = true;
  // Whether the text's own "<|im_start|>" and the like become their special token; otherwise they
  // are plain text. A prompt that a template made wants true. A tokenizer may be made so that they
  // never do (split_special_tokens in tokenizer_config.json).
  bool parse_special_tokens = true;
};

// A special token under the name that chat templates know it by: "bos_token", "pad_token",
// "image_token".
struct NamedToken {
  std::string name;
  std::string text;
};

// The text of tokens as they come. Thread-compatible.
class TokenDecoding {
 public:
  virtual ~TokenDecoding() = default;

  // Takes the next token. Returns the part of the text that no later token changes any more: valid
  // UTF-8, perhaps empty. OUT_OF_RANGE, and nothing taken, for an id outside of the vocabulary.
  virtual absl::StatusOr<std::string> Append(int32_t id) = 0;

  // The rest of the text. REQUIRES: nothing follows.
  virtual std::string Finish() = 0;
};

// Immutable and thread-safe once built.
class Tokenizer {
 public:
  // Reads DIR/tokenizer.json and, where present, tokenizer_config.json, special_tokens_map.json and
  // added_tokens.json (token_settings.h). The tokenizer is what transformers makes of the folder:
  // where a file's ids and the order of its tokens contradict each other, the order counts.
  // NOT_FOUND without tokenizer.json; UNIMPLEMENTED, naming the component, for a model,
  // normalizer, pre-tokenizer, post-processor or decoder that this program does not know;
  // INVALID_ARGUMENT for a malformed file.
  static absl::StatusOr<std::unique_ptr<Tokenizer>> FromHuggingFace(const std::string& folder);

  // Reads tokenizer.ggml.* of a GGUF file. The model is "gpt2" (byte-level BPE; the pre-tokenizer's
  // rule is the one that tokenizer.ggml.pre names in llama.cpp), "llama" (SentencePiece's tokens
  // with scores) or "gemma4" (BPE with bytes as tokens). UNIMPLEMENTED for another model or an
  // unknown pre-tokenizer, INVALID_ARGUMENT for malformed metadata. `gguf` is needed only during
  // the call.
  static absl::StatusOr<std::unique_ptr<Tokenizer>> FromGguf(const GgufFile& gguf);

  virtual ~Tokenizer() = default;

  // INVALID_ARGUMENT if text is not valid UTF-8 (names the byte offset) or longer than 64 MiB;
  // RESOURCE_EXHAUSTED if a regular expression of the pre-tokenizer reaches its limits on it.
  virtual absl::StatusOr<std::vector<int32_t>> Encode(std::string_view text,
                                                      const EncodeOptions& options) const = 0;

  // The bytes that one token stands for in the middle of a text: not necessarily whole UTF-8
  // characters. Special tokens yield their text, or nothing when skip_special_tokens. OUT_OF_RANGE
  // for an id outside of the vocabulary.
  virtual absl::StatusOr<std::string> TokenBytes(int32_t id, bool skip_special_tokens) const = 0;

  // The text of ids; invalid UTF-8 becomes U+FFFD, as Hugging Face's decode() does. It need not be
  // the texts of the tokens one after the other: a decoder may treat the first token differently.
  // OUT_OF_RANGE as above.
  virtual absl::StatusOr<std::string> Decode(absl::Span<const int32_t> ids,
                                             bool skip_special_tokens) const = 0;

  // The same text in parts. The tokenizer must outlive the result.
  virtual std::unique_ptr<TokenDecoding> StartDecoding(bool skip_special_tokens) const = 0;

  virtual int32_t vocab_size() const = 0;

  // The id of a token by its exact text, special or not; nullopt when there is none.
  virtual std::optional<int32_t> TokenId(std::string_view token) const = 0;
  virtual bool IsSpecial(int32_t id) const = 0;

  // The special tokens that have a name, each name once.
  virtual absl::Span<const NamedToken> named_tokens() const = 0;
  // Every id that ends a generation by the tokenizer's own account: eos; GGUF: also eot and eom
  // where given, and the tokens that llama.cpp takes for an end by their text ("<|im_end|>").
  // Sorted.
  virtual absl::Span<const int32_t> end_of_generation_ids() const = 0;
};

}  // namespace shira

#endif  // SHIRA_SERVER_TOKENIZER_TOKENIZER_H_
