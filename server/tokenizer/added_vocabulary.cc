#include "server/tokenizer/added_vocabulary.h"

#include <unicode/uchar.h>

#include <utility>

#include "base/status_macros.h"
#include "base/strings.h"
#include "server/tokenizer/newer_characters.h"
#include "server/tokenizer/utf8.h"

namespace shira {
namespace {

bool IsWhiteSpace(char32_t character) {
  return u_hasBinaryProperty(static_cast<UChar32>(character), UCHAR_WHITE_SPACE);
}

// \w of Unicode's regular expressions (UTS #18, annex C).
bool IsWordCharacter(char32_t character) {
  const auto c = static_cast<UChar32>(character);
  return u_hasBinaryProperty(c, UCHAR_ALPHABETIC) || u_hasBinaryProperty(c, UCHAR_JOIN_CONTROL) ||
         (U_GET_GC_MASK(c) & (U_GC_M_MASK | U_GC_ND_MASK | U_GC_PC_MASK)) != 0 ||
         IsNewer(character, {"L", "Nl", "M", "Nd", "Pc"});
}

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
    } while ((static_cast<unsigned char>(text[begin]) & 0xC0) == 0x80);
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
      SHIRA_ASSIGN_OR_RETURN(form, normalizer->Normalize(std::move(form)));
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
  Cut(text, verbatim_, parse_special_tokens, verbatim);
  std::vector<TextSegment> result;
  for (TextSegment& segment : verbatim) {
    if (segment.token.has_value()) {
      result.push_back(std::move(segment));
      continue;
    }
    if (normalizer != nullptr) {
      SHIRA_ASSIGN_OR_RETURN(segment.text, normalizer->Normalize(std::move(segment.text)));
    }
    Cut(segment.text, normalized_, parse_special_tokens, result);
  }
  return result;
}

void AddedVocabulary::Cut(std::string_view text, const TokenMatcher& matcher,
                          bool parse_special_tokens, std::vector<TextSegment>& segments) const {
  size_t done = 0;
  for (const TokenMatch& match : matcher.FindLeftmost(text)) {
    const AddedToken& token = tokens_[static_cast<size_t>(match.value)];
    if (token.special && !parse_special_tokens) continue;
    if (token.single_word && !IsSingleWord(text, match)) continue;
    // A token before it may have taken the space between them, even beyond where this one begins.
    const size_t begin = token.lstrip ? StripLeft(text, match.begin, done) : match.begin;
    if (done < begin)
      segments.push_back({std::nullopt, std::string(text.substr(done, begin - done))});
    segments.push_back({token.id, {}});
    done = token.rstrip ? StripRight(text, match.end) : match.end;
  }
  if (done < text.size()) segments.push_back({std::nullopt, std::string(text.substr(done))});
}

std::optional<int32_t> AddedVocabulary::TokenId(std::string_view content) const {
  const auto found = ids_.find(ToAbsl(content));
  if (found == ids_.end()) return std::nullopt;
  return found->second;
}

}  // namespace shira
