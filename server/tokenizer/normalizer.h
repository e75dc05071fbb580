// File: server/tokenizer/normalizer.h
//
// The "normalizer" of tokenizer.json: rewrites a text before it is split.

#ifndef SHIRA_SERVER_TOKENIZER_NORMALIZER_H_
#define SHIRA_SERVER_TOKENIZER_NORMALIZER_H_

#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"

namespace shira {

// Immutable and thread-safe.
class Normalizer {
 public:
  // NFC, NFD, NFKC, NFKD, Lowercase, Prepend, Replace and Sequence; null is an empty Sequence.
  // UNIMPLEMENTED for another type, INVALID_ARGUMENT for a malformed one; messages name `where`.
  static absl::StatusOr<std::unique_ptr<const Normalizer>> FromJson(const nlohmann::json& json,
                                                                    std::string_view where,
                                                                    int depth = 0);

  virtual ~Normalizer() = default;

  // RESOURCE_EXHAUSTED where a regular expression reaches its limits. REQUIRES: valid UTF-8.
  virtual absl::StatusOr<std::string> Normalize(std::string text) const = 0;
};

}  // namespace shira

#endif  // SHIRA_SERVER_TOKENIZER_NORMALIZER_H_
