// File: server/tokenizer/component_tokenizer.h
//
// The tokenizer itself: the components of tokenizer.json, in their order. Files and GGUF metadata
// are read elsewhere.

#ifndef SHIRA_SERVER_TOKENIZER_COMPONENT_TOKENIZER_H_
#define SHIRA_SERVER_TOKENIZER_COMPONENT_TOKENIZER_H_

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "server/tokenizer/added_vocabulary.h"
#include "server/tokenizer/decoder.h"
#include "server/tokenizer/normalizer.h"
#include "server/tokenizer/post_processor.h"
#include "server/tokenizer/pre_tokenizer.h"
#include "server/tokenizer/token_model.h"
#include "server/tokenizer/tokenizer.h"

namespace shira {

class ComponentTokenizer final : public Tokenizer {
 public:
  // A token of the vocabulary.
  struct Entry {
    std::optional<std::string> form;  // what the decoder gets; an id without one has no text
    std::string bytes;                // what it stands for by itself
    bool special = false;
  };

  struct Components {
    AddedVocabulary added_vocabulary;
    std::unique_ptr<const Normalizer> normalizer;  // may be null
    std::unique_ptr<const PreTokenizer> pre_tokenizer;
    std::unique_ptr<const TokenModel> model;
    PostProcessor post_processor;
    std::optional<Decoder> decoder;  // always there, once all is set

    std::vector<Entry> entries;  // by id
    std::vector<NamedToken> named_tokens;
    std::vector<int32_t> end_of_generation_ids;  // sorted
    bool split_special_tokens = false;           // special tokens in a text are never parsed
  };

  // REQUIRES: every id in the components is below entries.size().
  explicit ComponentTokenizer(Components components) : parts_(std::move(components)) {}

  absl::StatusOr<std::vector<int32_t>> Encode(std::string_view text,
                                              const EncodeOptions& options) const override;
  absl::StatusOr<std::string> TokenBytes(int32_t id, bool skip_special_tokens) const override;
  absl::StatusOr<std::string> Decode(absl::Span<const int32_t> ids,
                                     bool skip_special_tokens) const override;
  std::unique_ptr<TokenDecoding> StartDecoding(bool skip_special_tokens) const override;
  int32_t vocab_size() const override;
  std::optional<int32_t> TokenId(std::string_view token) const override;
  bool IsSpecial(int32_t id) const override;
  absl::Span<const NamedToken> named_tokens() const override { return parts_.named_tokens; }
  absl::Span<const int32_t> end_of_generation_ids() const override {
    return parts_.end_of_generation_ids;
  }

 private:
  class EntryDecoding;

  // OUT_OF_RANGE for an id outside of the vocabulary.
  absl::StatusOr<const Entry*> EntryOf(int32_t id) const;

  const Components parts_;
};

}  // namespace shira

#endif  // SHIRA_SERVER_TOKENIZER_COMPONENT_TOKENIZER_H_
