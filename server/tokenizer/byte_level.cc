#include "server/tokenizer/byte_level.h"

#include <array>

#include "server/tokenizer/utf8.h"

namespace shira {
namespace {

constexpr bool StandsForItself(int byte) {
  return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

struct Alphabet {
  std::array<std::string, 256> of_byte;
  std::array<int, 0x200> to_byte;  // by code point; -1: not of the alphabet
};

const Alphabet& GetAlphabet() {
  static const Alphabet* const alphabet = [] {
    auto* result = new Alphabet;
    result->to_byte.fill(-1);
    char32_t next = 0x100;
    for (int byte = 0; byte < 256; ++byte) {
      const char32_t character = StandsForItself(byte) ? static_cast<char32_t>(byte) : next++;
      AppendUtf8(character, &result->of_byte[byte]);
      result->to_byte[character] = byte;
    }
    return result;
  }();
  return *alphabet;
}

}  // namespace

std::string BytesToByteLevel(std::string_view bytes) {
  const Alphabet& alphabet = GetAlphabet();
  std::string text;
  text.reserve(2 * bytes.size());
  for (const char byte : bytes) text += alphabet.of_byte[static_cast<unsigned char>(byte)];
  return text;
}

std::optional<std::string> ByteLevelToBytes(std::string_view text) {
  const Alphabet& alphabet = GetAlphabet();
  std::string bytes;
  bytes.reserve(text.size());
  for (size_t offset = 0; offset < text.size();) {
    const char32_t character = NextCharacter(text, &offset);
    if (character >= alphabet.to_byte.size() || alphabet.to_byte[character] < 0)
      return std::nullopt;
    bytes.push_back(static_cast<char>(alphabet.to_byte[character]));
  }
  return bytes;
}

}  // namespace shira
