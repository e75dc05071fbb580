#include "server/tokenizer/byte_level_tokenizer.h"

#include <utility>

#include "base/status_macros.h"
#include "base/strings.h"
#include "server/tokenizer/utf8.h"

namespace shira {
namespace {

// Places in a piece are 32 bits wide, and normalization can make a text several times as long.
constexpr size_t kMaxTextBytes = size_t{64} << 20;

}  // namespace

absl::StatusOr<std::vector<int32_t>> ByteLevelTokenizer::Encode(
    std::string_view text, const EncodeOptions& options) const {
  if (text.size() > kMaxTextBytes) {
    return absl::InvalidArgumentError(
        StrCat("the text has ", text.size(), " bytes, more than the ", kMaxTextBytes, " allowed"));
  }
  if (const std::optional<size_t> invalid = FirstInvalidUtf8(text); invalid.has_value()) {
    return absl::InvalidArgumentError(StrCat("the text is not valid UTF-8: byte ", *invalid, " of ",
                                             text.size(), " begins no valid character"));
  }
  const bool parse_special_tokens = options.parse_special_tokens && !parts_.split_special_tokens;
  SHIRA_ASSIGN_OR_RETURN(
      std::vector<TextSegment> segments,
      parts_.added_vocabulary.Split(text, parse_special_tokens, parts_.normalizer.get()));

  std::vector<int32_t> ids;
  if (options.add_special_tokens) ids = parts_.post_processor.prefix;
  for (TextSegment& segment : segments) {
    if (segment.token.has_value()) {
      ids.push_back(*segment.token);
      continue;
    }
    std::vector<std::string> pieces;
    pieces.push_back(std::move(segment.text));
    SHIRA_RETURN_IF_ERROR(parts_.pre_tokenizer->Apply(pieces));
    for (const std::string& piece : pieces) {
      SHIRA_RETURN_IF_ERROR(parts_.model.Encode(piece, ids));
    }
  }
  if (options.add_special_tokens) {
    ids.insert(ids.end(), parts_.post_processor.suffix.begin(), parts_.post_processor.suffix.end());
  }
  return ids;
}

absl::StatusOr<std::string> ByteLevelTokenizer::TokenBytes(int32_t id,
                                                           bool skip_special_tokens) const {
  if (id < 0 || id >= vocab_size()) {
    return absl::OutOfRangeError(
        StrCat("token id ", id, " is outside of the vocabulary of ", vocab_size(), " tokens"));
  }
  const auto index = static_cast<size_t>(id);
  if (skip_special_tokens && parts_.special[index]) return std::string();
  return parts_.token_bytes[index];
}

absl::StatusOr<std::string> ByteLevelTokenizer::Decode(absl::Span<const int32_t> ids,
                                                       bool skip_special_tokens) const {
  std::string bytes;
  for (const int32_t id : ids) {
    SHIRA_ASSIGN_OR_RETURN(const std::string token, TokenBytes(id, skip_special_tokens));
    bytes += token;
  }
  return ReplaceInvalidUtf8(bytes);
}

int32_t ByteLevelTokenizer::vocab_size() const {
  return static_cast<int32_t>(parts_.token_bytes.size());
}

std::optional<int32_t> ByteLevelTokenizer::TokenId(std::string_view token) const {
  const std::optional<int32_t> added = parts_.added_vocabulary.TokenId(token);
  return added.has_value() ? added : parts_.model.TokenId(token);
}

bool ByteLevelTokenizer::IsSpecial(int32_t id) const {
  return id >= 0 && id < vocab_size() && parts_.special[static_cast<size_t>(id)];
}

}  // namespace shira
