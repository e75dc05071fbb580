#include "server/tokenizer/added_token_list.h"

#include <algorithm>
#include <utility>

#include "base/strings.h"

namespace shira {

void AddedTokenList::Add(absl::Span<const AddedToken> tokens) {
  const auto model_size = static_cast<int32_t>(model_.token_count());
  int32_t next_id = model_size;
  if (!tokens_.empty()) next_id = std::max(next_id, tokens_.rbegin()->first + 1);
  for (AddedToken token : tokens) {
    if (token.content.empty()) continue;
    const std::optional<int32_t> known = TokenId(token.content);
    token.id = known.has_value() ? *known : next_id++;
    if (token.special) special_.insert(token.content);
    token.special = special_.contains(token.content);
    const auto before = tokens_.find(token.id);
    token.decodes_normalized =
        token.normalized || (before != tokens_.end() && before->second.decodes_normalized);
    ids_[token.content] = token.id;
    tokens_[token.id] = std::move(token);
  }
}

bool AddedTokenList::Contains(std::string_view content) const {
  return ids_.contains(ToAbsl(content));
}

std::optional<int32_t> AddedTokenList::TokenId(std::string_view content) const {
  const auto found = ids_.find(ToAbsl(content));
  return found == ids_.end() ? model_.vocabulary().Id(content) : found->second;
}

std::vector<AddedToken> AddedTokenList::Tokens() const {
  std::vector<AddedToken> tokens;
  tokens.reserve(tokens_.size());
  for (const auto& [id, token] : tokens_) tokens.push_back(token);
  return tokens;
}

}  // namespace shira
