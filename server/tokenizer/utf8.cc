#include "server/tokenizer/utf8.h"

#include <unicode/utf8.h>

#include <algorithm>

namespace shira {
namespace {

constexpr char32_t kReplacement = 0xFFFD;

// As NextCharacter, but -1 for an ill-formed sequence, of which it skips the maximal part.
int32_t NextOrError(std::string_view text, size_t* offset) {
  int32_t character;
  U8_NEXT(reinterpret_cast<const uint8_t*>(text.data()), *offset, text.size(), character);
  return character;
}

}  // namespace

std::optional<size_t> FirstInvalidUtf8(std::string_view text) {
  for (size_t offset = 0; offset < text.size();) {
    const size_t start = offset;
    if (NextOrError(text, &offset) < 0) return start;
  }
  return std::nullopt;
}

char32_t NextCharacter(std::string_view text, size_t* offset) {
  return static_cast<char32_t>(NextOrError(text, offset));
}

char32_t PreviousCharacter(std::string_view text, size_t offset) {
  do {
    --offset;
  } while (offset > 0 && U8_IS_TRAIL(static_cast<uint8_t>(text[offset])));
  return NextCharacter(text, &offset);
}

size_t CharacterCount(std::string_view text) {
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), IsCharacterStart));
}

void AppendUtf8(char32_t character, std::string* text) {
  char buffer[U8_MAX_LENGTH];
  size_t length = 0;
  U8_APPEND_UNSAFE(buffer, length, static_cast<uint32_t>(character));
  text->append(buffer, length);
}

std::string ReplaceInvalidUtf8(std::string_view bytes) {
  std::string text;
  text.reserve(bytes.size());
  for (size_t offset = 0; offset < bytes.size();) {
    const size_t start = offset;
    if (NextOrError(bytes, &offset) < 0) {
      AppendUtf8(kReplacement, &text);
    } else {
      text.append(bytes, start, offset - start);
    }
  }
  return text;
}

size_t UnfinishedUtf8Suffix(std::string_view bytes) {
  for (size_t length = 1; length <= std::min<size_t>(3, bytes.size()); ++length) {
    const std::string_view suffix = bytes.substr(bytes.size() - length);
    const uint8_t lead = static_cast<uint8_t>(suffix[0]);
    if (U8_IS_TRAIL(lead)) continue;
    if (!U8_IS_LEAD(lead)) return 0;
    // Unfinished if the whole suffix is one maximal part and a trail byte is still missing.
    size_t offset = 0;
    const bool one_part = NextOrError(suffix, &offset) < 0 && offset == length;
    return one_part && length < 1u + U8_COUNT_TRAIL_BYTES(lead) ? length : 0;
  }
  return 0;
}

}  // namespace shira
