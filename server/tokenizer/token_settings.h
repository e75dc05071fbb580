// File: server/tokenizer/token_settings.h
//
// What the files beside tokenizer.json say about tokens: tokenizer_config.json, and for folders of
// older versions special_tokens_map.json and added_tokens.json. The rules are those of
// transformers' AutoTokenizer for its class TokenizersBackend ("PreTrainedTokenizerFast").

#ifndef SHIRA_SERVER_TOKENIZER_TOKEN_SETTINGS_H_
#define SHIRA_SERVER_TOKENIZER_TOKEN_SETTINGS_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "server/tokenizer/added_token_list.h"
#include "server/tokenizer/added_vocabulary.h"

namespace shira {

// A token as these files write it.
struct ListedToken {
  AddedToken token;                // without an id
  std::optional<bool> normalized;  // absent: a token that is not special is
  // An object of tokenizer_config.json. Such a token does not make a word of added_tokens.json that
  // has its text special: transformers does not yet know its text when it reads that file.
  bool object_of_config = false;
};

struct TokenSettings {
  // added_tokens_decoder; without it, added_tokens.json and the tokens of tokenizer.json. By the
  // id that they are listed under, which is the order in which they are added and no more.
  std::map<int64_t, ListedToken> listed;
  // bos_token, eos_token and so on, and those that a model names itself (image_token), in the order
  // in which they are added.
  std::vector<std::pair<std::string, ListedToken>> named;
  std::vector<ListedToken> extra;  // extra_special_tokens, additional_special_tokens
  // Special tokens in a text are text.
  bool split_special_tokens = false;
};

// Reads the files that DIR has. `tokens` are the added_tokens of its tokenizer.json, with the ids
// that stand there. INVALID_ARGUMENT, with the file, for a malformed one.
absl::StatusOr<TokenSettings> ReadTokenSettings(const std::string& folder,
                                                absl::Span<const AddedToken> tokens);

// The tokens to add to `known`, which has those of tokenizer.json, in order: those that are listed,
// with their flags, then the named ones and the extra ones that are not known yet.
std::vector<AddedToken> TokensToAdd(const TokenSettings& settings, const AddedTokenList& known);

}  // namespace shira

#endif  // SHIRA_SERVER_TOKENIZER_TOKEN_SETTINGS_H_
