// File: server/tokenizer/added_vocabulary.h
//
// The "added_tokens" of tokenizer.json: tokens that are found in the text before the model sees it.

#ifndef SHIRA_SERVER_TOKENIZER_ADDED_VOCABULARY_H_
#define SHIRA_SERVER_TOKENIZER_ADDED_VOCABULARY_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "server/tokenizer/normalizer.h"
#include "server/tokenizer/text_piece.h"
#include "server/tokenizer/token_matcher.h"

namespace shira {

struct AddedToken {
  int32_t id = 0;
  std::string content;       // not empty
  bool single_word = false;  // not where a word character precedes or follows
  bool lstrip = false;       // takes the white space to its left along
  bool rstrip = false;       // takes the white space to its right along
  bool normalized = false;   // its normalized form is searched, in the normalized text
  bool special =
      false;  // plain text where special tokens are not parsed; left out by decoding on request
  bool decodes_normalized = false;  // decoding gives its normalized form
};

// A stretch of text, or a token that was found.
struct TextSegment {
  std::optional<int32_t> token;
  TextPiece piece;  // when not a token; not empty
};

// Immutable and thread-safe.
class AddedVocabulary {
 public:
  // The normalizer is applied to the tokens that are `normalized`; null for none. INVALID_ARGUMENT
  // for one whose normalized form is empty. REQUIRES: no content is empty, no two tokens have the
  // same content or the same id.
  static absl::StatusOr<AddedVocabulary> Create(std::vector<AddedToken> tokens,
                                                const Normalizer* normalizer);

  // Cuts a text at the tokens; of those that overlap the one further left counts, then the longer
  // one. First those that are not `normalized`; then what is left is normalized, and the others are
  // searched. `normalizer` is the one that Create() had. Errors of the normalizer. REQUIRES: valid
  // UTF-8.
  absl::StatusOr<std::vector<TextSegment>> Split(std::string_view text, bool parse_special_tokens,
                                                 const Normalizer* normalizer) const;

  std::optional<int32_t> TokenId(std::string_view content) const;

  const std::vector<AddedToken>& tokens() const { return tokens_; }
  // The form of tokens()[i] that decoding gives back.
  const std::string& form(size_t i) const { return forms_[i]; }

 private:
  // Appends the segments of `piece` to `segments`.
  void Cut(TextPiece piece, const TokenMatcher& matcher, bool parse_special_tokens,
           std::vector<TextSegment>& segments) const;

  std::vector<AddedToken> tokens_;
  std::vector<std::string> forms_;
  absl::flat_hash_map<std::string, int32_t> ids_;  // by content
  TokenMatcher verbatim_;                          // values are indices into tokens_
  TokenMatcher normalized_;
};

}  // namespace shira

#endif  // SHIRA_SERVER_TOKENIZER_ADDED_VOCABULARY_H_
