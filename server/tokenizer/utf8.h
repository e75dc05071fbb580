// File: server/tokenizer/utf8.h
//
// What the tokenizer needs to know about UTF-8. The rules are those of Unicode (table 3-7): no
// surrogates, no overlong forms, nothing past U+10FFFF.

#ifndef SHIRA_SERVER_TOKENIZER_UTF8_H_
#define SHIRA_SERVER_TOKENIZER_UTF8_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace shira {

// The offset of the first byte that begins no valid character; nullopt for valid text.
std::optional<size_t> FirstInvalidUtf8(std::string_view text);

// The character that begins at `*offset`, which moves to the next one. REQUIRES: valid text,
// *offset < text.size().
char32_t NextCharacter(std::string_view text, size_t* offset);

// The character that ends at `offset`. REQUIRES: valid text, 0 < offset <= text.size().
char32_t PreviousCharacter(std::string_view text, size_t offset);

// Whether a byte of valid text is the first one of its character.
constexpr bool IsCharacterStart(char byte) {
  return (static_cast<unsigned char>(byte) & 0xC0) != 0x80;
}

// REQUIRES: valid text.
size_t CharacterCount(std::string_view text);

void AppendUtf8(char32_t character, std::string* text);

// Each maximal part of an ill-formed sequence becomes one U+FFFD: what Rust's
// String::from_utf8_lossy and Python's errors="replace" do.
std::string ReplaceInvalidUtf8(std::string_view bytes);

// How many bytes at the end are the beginning of a character that more bytes could complete: 0
// to 3.
size_t UnfinishedUtf8Suffix(std::string_view bytes);

}  // namespace shira

#endif  // SHIRA_SERVER_TOKENIZER_UTF8_H_
