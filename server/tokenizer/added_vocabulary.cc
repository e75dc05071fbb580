#include "server/tokenizer/added_vocabulary.h"

#include <utility>

#include "base/status_macros.h"
#include "base/strings.h"
#include "server/tokenizer/character_classes.h"
#include "server/tokenizer/utf8.h"

namespace shira {
namespace {

bool IsSingleWord(std::string_view text, const TokenMatch& match) {
  if (match.begin > 0 && IsWordCharacter(PreviousCharacter(text, match.begin))) return false;
  size_t end = match.end;
  return end == text.size() || !IsWordCharacter(NextCharacter(text, &end));
}

size_t StripLeft(std::string_view text, size_t begin, size_t limit) {
  while (begin > limit) {
    const char32_t character = PreviousCharacter(text, begin);
    if (!IsWhiteSpace(character)) break;
    do {
      --begin;
    } while (!IsCharacterStart(text[begin]));
  }
  return begin;
}

size_t StripRight(std::string_view text, size_t end) {
  for (size_t next = end; next < text.size(); end = next) {
    if (!IsWhiteSpace(NextCharacter(text, &next))) break;
  }
  return end;
}

}  // namespace

absl::StatusOr<AddedVocabulary> AddedVocabulary::Create(std::vector<AddedToken> tokens,
                                                        const Normalizer* normalizer) {
  AddedVocabulary result;
  for (size_t i = 0; i < tokens.size(); ++i) {
    const AddedToken& token = tokens[i];
    result.ids_.emplace(token.content, token.id);
    std::string form = token.content;
    if ((token.normalized || token.decodes_normalized) && normalizer != nullptr) {
      TextPiece piece{std::move(form)};
      SHIRA_RETURN_IF_ERROR(normalizer->Normalize(piece));
      form = std::move(piece.text);
      if (form.empty()) {
        return absl::InvalidArgumentError(
            StrCat("nothing is left of added token '", token.content, "' when normalized"));
      }
    }
    const auto value = static_cast<int32_t>(i);
    if (token.normalized) {
      result.normalized_.Add(form, value);
    } else {
      result.verbatim_.Add(token.content, value);
    }
    result.forms_.push_back(std::move(form));
  }
  result.tokens_ = std::move(tokens);
  return result;
}

absl::StatusOr<std::vector<TextSegment>> AddedVocabulary::Split(
    std::string_view text, bool parse_special_tokens, const Normalizer* normalizer) const {
  std::vector<TextSegment> verbatim;
  Cut({std::string(text), /*at_start=*/true}, verbatim_, parse_special_tokens, verbatim);
  std::vector<TextSegment> result;
  for (TextSegment& segment : verbatim) {
    if (segment.token.has_value()) {
      result.push_back(std::move(segment));
      continue;
    }
    if (normalizer != nullptr) SHIRA_RETURN_IF_ERROR(normalizer->Normalize(segment.piece));
    Cut(std::move(segment.piece), normalized_, parse_special_tokens, result);
  }
  return result;
}

void AddedVocabulary::Cut(TextPiece piece, const TokenMatcher& matcher, bool parse_special_tokens,
                          std::vector<TextSegment>& segments) const {
  const std::string_view text = piece.text;
  size_t done = 0;
  const auto add_text = [&](size_t end) {
    if (done == end) return;
    segments.push_back(
        {std::nullopt, {std::string(text.substr(done, end - done)), piece.at_start && done == 0}});
  };
  for (const TokenMatch& match : matcher.FindLeftmost(text)) {
    const AddedToken& token = tokens_[static_cast<size_t>(match.value)];
    if (token.special && !parse_special_tokens) continue;
    if (token.single_word && !IsSingleWord(text, match)) continue;
    // A token before it may have taken the space between them, even beyond where this one begins.
    const size_t begin = token.lstrip ? StripLeft(text, match.begin, done) : match.begin;
    if (done < begin) add_text(begin);
    segments.push_back({token.id, {}});
    done = token.rstrip ? StripRight(text, match.end) : match.end;
  }
  if (done == 0 && !text.empty()) {
    segments.push_back({std::nullopt, std::move(piece)});
  } else {
    add_text(text.size());
  }
}

std::optional<int32_t> AddedVocabulary::TokenId(std::string_view content) const {
  const auto found = ids_.find(ToAbsl(content));
  if (found == ids_.end()) return std::nullopt;
  return found->second;
}

}  // namespace shira
