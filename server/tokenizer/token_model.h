// File: server/tokenizer/token_model.h
//
// The "model" of tokenizer.json: from the text of a piece to tokens.

#ifndef SHIRA_SERVER_TOKENIZER_TOKEN_MODEL_H_
#define SHIRA_SERVER_TOKENIZER_TOKEN_MODEL_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"
#include "server/tokenizer/vocabulary.h"

namespace shira {

// Immutable and thread-safe.
class TokenModel {
 public:
  // BPE, Unigram, WordPiece and WordLevel; without a type (as in old files) the one whose members
  // are there. UNIMPLEMENTED for another type and for options that a server cannot have (dropout);
  // INVALID_ARGUMENT for a malformed object; messages name `where`.
  static absl::StatusOr<std::unique_ptr<const TokenModel>> FromJson(const nlohmann::json& json,
                                                                    std::string_view where);

  virtual ~TokenModel() = default;

  // Appends the tokens of one piece. INVALID_ARGUMENT for text that the vocabulary lacks where it
  // has no token for what is unknown either. REQUIRES: valid UTF-8, not empty, less than 2 GiB.
  virtual absl::Status Encode(std::string_view piece, std::vector<int32_t>& ids) const = 0;

  virtual const Vocabulary& vocabulary() const = 0;

  // How many tokens there are, which is the first id that an added token can get.
  virtual size_t token_count() const { return vocabulary().size(); }
};

}  // namespace shira

#endif  // SHIRA_SERVER_TOKENIZER_TOKEN_MODEL_H_
