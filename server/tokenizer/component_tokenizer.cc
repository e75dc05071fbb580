#include "server/tokenizer/component_tokenizer.h"

#include "base/status_macros.h"
#include "base/strings.h"
#include "server/tokenizer/utf8.h"

namespace shira {
namespace {

// Places in a piece are 32 bits wide, and normalization can make a text several times as long.
constexpr size_t kMaxTextBytes = size_t{64} << 20;

}  // namespace

class ComponentTokenizer::EntryDecoding final : public TokenDecoding {
 public:
  EntryDecoding(const ComponentTokenizer& tokenizer, bool skip_special_tokens)
      : tokenizer_(tokenizer),
        skip_special_tokens_(skip_special_tokens),
        decoding_(tokenizer.parts_.decoder->Start()) {}

  absl::StatusOr<std::string> Append(int32_t id) override {
    SHIRA_ASSIGN_OR_RETURN(const Entry* entry, tokenizer_.EntryOf(id));
    if (!entry->form.has_value() || (skip_special_tokens_ && entry->special)) return std::string();
    return decoding_->Append(*entry->form);
  }

  std::string Finish() override { return decoding_->Finish(); }

 private:
  const ComponentTokenizer& tokenizer_;
  const bool skip_special_tokens_;
  const std::unique_ptr<Decoding> decoding_;
};

absl::StatusOr<std::vector<int32_t>> ComponentTokenizer::Encode(
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
    std::vector<TextPiece> pieces;
    pieces.push_back(std::move(segment.piece));
    SHIRA_RETURN_IF_ERROR(parts_.pre_tokenizer->Apply(pieces));
    for (const TextPiece& piece : pieces) {
      SHIRA_RETURN_IF_ERROR(parts_.model->Encode(piece.text, ids));
    }
  }
  if (options.add_special_tokens) {
    ids.insert(ids.end(), parts_.post_processor.suffix.begin(), parts_.post_processor.suffix.end());
  }
  return ids;
}

absl::StatusOr<std::string> ComponentTokenizer::TokenBytes(int32_t id,
                                                           bool skip_special_tokens) const {
  SHIRA_ASSIGN_OR_RETURN(const Entry* entry, EntryOf(id));
  return skip_special_tokens && entry->special ? std::string() : entry->bytes;
}

absl::StatusOr<std::string> ComponentTokenizer::Decode(absl::Span<const int32_t> ids,
                                                       bool skip_special_tokens) const {
  EntryDecoding decoding(*this, skip_special_tokens);
  std::string text;
  for (const int32_t id : ids) {
    SHIRA_ASSIGN_OR_RETURN(const std::string part, decoding.Append(id));
    text += part;
  }
  return text + decoding.Finish();
}

std::unique_ptr<TokenDecoding> ComponentTokenizer::StartDecoding(bool skip_special_tokens) const {
  return std::make_unique<EntryDecoding>(*this, skip_special_tokens);
}

int32_t ComponentTokenizer::vocab_size() const {
  return static_cast<int32_t>(parts_.entries.size());
}

std::optional<int32_t> ComponentTokenizer::TokenId(std::string_view token) const {
  const std::optional<int32_t> added = parts_.added_vocabulary.TokenId(token);
  return added.has_value() ? added : parts_.model->vocabulary().Id(token);
}

bool ComponentTokenizer::IsSpecial(int32_t id) const {
  return id >= 0 && id < vocab_size() && parts_.entries[static_cast<size_t>(id)].special;
}

absl::StatusOr<const ComponentTokenizer::Entry*> ComponentTokenizer::EntryOf(int32_t id) const {
  if (id < 0 || id >= vocab_size()) {
    return absl::OutOfRangeError(
        StrCat("token id ", id, " is outside of the vocabulary of ", vocab_size(), " tokens"));
  }
  return &parts_.entries[static_cast<size_t>(id)];
}

}  // namespace shira
