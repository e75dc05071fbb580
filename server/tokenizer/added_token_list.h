// File: server/tokenizer/added_token_list.h
//
// The tokens that are added to a model's vocabulary, and the ids that they get. The rules are those
// of the library `tokenizers`, whose files name an id for each added token and do not use it.

#ifndef SHIRA_SERVER_TOKENIZER_ADDED_TOKEN_LIST_H_
#define SHIRA_SERVER_TOKENIZER_ADDED_TOKEN_LIST_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/types/span.h"
#include "base/strings.h"
#include "server/tokenizer/added_vocabulary.h"
#include "server/tokenizer/token_model.h"

namespace shira {

// Thread-compatible.
class AddedTokenList {
 public:
  // `model` must outlive this object.
  explicit AddedTokenList(const TokenModel& model) : model_(model) {}

  // Adds tokens in their order; the ids that they hold are ignored. A text that this list or the
  // model knows keeps its id and gets the new flags; another gets the next free id, which is at
  // least the number of the model's tokens. What was special once stays so, and what was normalized
  // once is decoded so. Tokens without a text are left out.
  void Add(absl::Span<const AddedToken> tokens);

  bool Contains(std::string_view content) const;
  // The token's id, added or the model's; nullopt where there is none.
  std::optional<int32_t> TokenId(std::string_view content) const;

  // By id.
  std::vector<AddedToken> Tokens() const;
  // Whether a special token has this text. Tokens are told apart by the text that decoding gives, so
  // a special token that normalization changes is shown all the same.
  bool IsSpecialText(std::string_view text) const { return special_.contains(ToAbsl(text)); }

 private:
  const TokenModel& model_;
  absl::flat_hash_map<std::string, int32_t> ids_;
  std::map<int32_t, AddedToken> tokens_;
  absl::flat_hash_set<std::string> special_;
};

}  // namespace shira

#endif  // SHIRA_SERVER_TOKENIZER_ADDED_TOKEN_LIST_H_
