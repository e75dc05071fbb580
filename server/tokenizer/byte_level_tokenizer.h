// File: server/tokenizer/byte_level_tokenizer.h
//
// The tokenizer itself: the components of tokenizer.json, in their order. Files and GGUF metadata
// are read elsewhere.

#ifndef SHIRA_SERVER_TOKENIZER_BYTE_LEVEL_TOKENIZER_H_
#define SHIRA_SERVER_TOKENIZER_BYTE_LEVEL_TOKENIZER_H_

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "server/tokenizer/added_vocabulary.h"
#include "server/tokenizer/bpe_model.h"
#include "server/tokenizer/normalizer.h"
#include "server/tokenizer/post_processor.h"
#include "server/tokenizer/pre_tokenizer.h"
#include "server/tokenizer/tokenizer.h"

namespace shira {

class ByteLevelTokenizer final : public Tokenizer {
 public:
  struct Components {
    AddedVocabulary added_vocabulary;
    std::unique_ptr<const Normalizer> normalizer;  // may be null
    std::unique_ptr<const PreTokenizer> pre_tokenizer;
    BpeModel model;
    PostProcessor post_processor;

    // By id, of the same length.
    std::vector<std::string> token_bytes;
    std::vector<bool> special;

    std::vector<NamedToken> named_tokens;
    std::vector<int32_t> end_of_generation_ids;  // sorted
    bool split_special_tokens = false;           // special tokens in a text are never parsed
  };

  // REQUIRES: every id in the components is below token_bytes.size().
  explicit ByteLevelTokenizer(Components components) : parts_(std::move(components)) {}

  absl::StatusOr<std::vector<int32_t>> Encode(std::string_view text,
                                              const EncodeOptions& options) const override;
  absl::StatusOr<std::string> TokenBytes(int32_t id, bool skip_special_tokens) const override;
  absl::StatusOr<std::string> Decode(absl::Span<const int32_t> ids,
                                     bool skip_special_tokens) const override;
  int32_t vocab_size() const override;
  std::optional<int32_t> TokenId(std::string_view token) const override;
  bool IsSpecial(int32_t id) const override;
  absl::Span<const NamedToken> named_tokens() const override { return parts_.named_tokens; }
  absl::Span<const int32_t> end_of_generation_ids() const override {
    return parts_.end_of_generation_ids;
  }

 private:
  const Components parts_;
};

}  // namespace shira

#endif  // SHIRA_SERVER_TOKENIZER_BYTE_LEVEL_TOKENIZER_H_
