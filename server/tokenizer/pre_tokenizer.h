// File: server/tokenizer/pre_tokenizer.h
//
// The "pre_tokenizer" of tokenizer.json: cuts a text into the pieces that the model merges on its
// own.

#ifndef SHIRA_SERVER_TOKENIZER_PRE_TOKENIZER_H_
#define SHIRA_SERVER_TOKENIZER_PRE_TOKENIZER_H_

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"
#include "server/tokenizer/regex.h"
#include "server/tokenizer/text_piece.h"

namespace shira {

// What happens to the matches of a pattern, with the names of tokenizer.json.
enum class SplitBehavior { kRemoved, kIsolated, kMergedWithPrevious, kMergedWithNext, kContiguous };

// Immutable and thread-safe.
class PreTokenizer {
 public:
  // Split, ByteLevel, Metaspace, Digits, Punctuation, Whitespace, WhitespaceSplit,
  // BertPreTokenizer, CharDelimiterSplit, FixedLength and Sequence; null cuts nothing.
  // UNIMPLEMENTED for another type, INVALID_ARGUMENT for a malformed one; messages name `where`.
  static absl::StatusOr<std::unique_ptr<const PreTokenizer>> FromJson(const nlohmann::json& json,
                                                                      std::string_view where,
                                                                      int depth = 0);

  static std::unique_ptr<const PreTokenizer> Split(Regex pattern, SplitBehavior behavior,
                                                   bool invert);
  // ByteLevel with neither prefix space nor pattern: only the change of alphabet (see
  // byte_level.h).
  static std::unique_ptr<const PreTokenizer> ByteLevelAlphabet();
  static std::unique_ptr<const PreTokenizer> Sequence(
      std::vector<std::unique_ptr<const PreTokenizer>> parts);

  virtual ~PreTokenizer() = default;

  // Replaces each piece by its parts, in order; none is empty. RESOURCE_EXHAUSTED where a regular
  // expression reaches its limits. REQUIRES: pieces are valid UTF-8, none is empty.
  virtual absl::Status Apply(std::vector<TextPiece>& pieces) const = 0;
};

}  // namespace shira

#endif  // SHIRA_SERVER_TOKENIZER_PRE_TOKENIZER_H_
