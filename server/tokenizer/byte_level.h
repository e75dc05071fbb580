// File: server/tokenizer/byte_level.h
//
// GPT-2's alphabet: each of the 256 bytes as one printable character, so that a vocabulary of text
// can hold any bytes. Printable Latin-1 stands for itself; the others are U+0100 and up, in byte
// order (a space is U+0120).

#ifndef SHIRA_SERVER_TOKENIZER_BYTE_LEVEL_H_
#define SHIRA_SERVER_TOKENIZER_BYTE_LEVEL_H_

#include <optional>
#include <string>
#include <string_view>

namespace shira {

std::string BytesToByteLevel(std::string_view bytes);

// nullopt if a character is none of the alphabet. REQUIRES: valid UTF-8.
std::optional<std::string> ByteLevelToBytes(std::string_view text);

}  // namespace shira

#endif  // SHIRA_SERVER_TOKENIZER_BYTE_LEVEL_H_
