// File: server/tokenizer/normalizer.h
//
// The "normalizer" of tokenizer.json: rewrites a text before it is split.

#ifndef SHIRA_SERVER_TOKENIZER_NORMALIZER_H_
#define SHIRA_SERVER_TOKENIZER_NORMALIZER_H_

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"
#include "server/tokenizer/text_piece.h"

namespace shira {

// Immutable and thread-safe.
class Normalizer {
 public:
  // NFC, NFD, NFKC, NFKD, Lowercase, Prepend, Replace, Strip, StripAccents, BertNormalizer, Nmt,
  // ByteLevel, Precompiled and Sequence; null is an empty Sequence. UNIMPLEMENTED for another type,
  // INVALID_ARGUMENT for a malformed one; messages name `where`.
  static absl::StatusOr<std::unique_ptr<const Normalizer>> FromJson(const nlohmann::json& json,
                                                                    std::string_view where,
                                                                    int depth = 0);

  // Puts `prefix` in front of a text that is not empty.
  static std::unique_ptr<const Normalizer> Prepend(std::string prefix);
  // Replaces every space.
  static std::unique_ptr<const Normalizer> ReplaceSpaces(std::string content);
  static std::unique_ptr<const Normalizer> Sequence(
      std::vector<std::unique_ptr<const Normalizer>> parts);

  virtual ~Normalizer() = default;

  // Rewrites a piece, which may become empty; it is no longer at the start where characters there
  // were taken out. RESOURCE_EXHAUSTED where a regular expression reaches its limits. REQUIRES:
  // valid UTF-8.
  virtual absl::Status Normalize(TextPiece& piece) const = 0;
};

}  // namespace shira

#endif  // SHIRA_SERVER_TOKENIZER_NORMALIZER_H_
