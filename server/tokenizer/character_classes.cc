#include "server/tokenizer/character_classes.h"

#include <unicode/uchar.h>
#include <unicode/uniset.h>

#include "server/tokenizer/newer_characters.h"

namespace shira {
namespace {

const icu::UnicodeSet& MakeSet(const char16_t* pattern) {
  UErrorCode error = U_ZERO_ERROR;
  auto* set = new icu::UnicodeSet(icu::UnicodeString(pattern), error);
  set->freeze();
  return *set;
}

}  // namespace

bool IsWhiteSpace(char32_t character) {
  return u_hasBinaryProperty(static_cast<UChar32>(character), UCHAR_WHITE_SPACE);
}

bool IsWordCharacter(char32_t character) {
  const auto c = static_cast<UChar32>(character);
  return u_hasBinaryProperty(c, UCHAR_ALPHABETIC) || u_hasBinaryProperty(c, UCHAR_JOIN_CONTROL) ||
         (U_GET_GC_MASK(c) & (U_GC_M_MASK | U_GC_ND_MASK | U_GC_PC_MASK)) != 0 ||
         IsNewer(character, {"L", "Nl", "M", "Nd", "Pc"});
}

bool IsControlOfBert(char32_t character) {
  static const icu::UnicodeSet& set = MakeSet(u"[[[:Cc:][:Cf:][:Co:]]&[:Age=8.0:]]");
  return set.contains(static_cast<UChar32>(character));
}

bool IsAccentOfBert(char32_t character) {
  // Five have changed their category since.
  static const icu::UnicodeSet& set =
      MakeSet(u"[[[:Mn:]&[:Age=8.0:]]-[\\u1885\\u1886\\uA9BD\\U000111C9]\\u1734]");
  return set.contains(static_cast<UChar32>(character));
}

bool IsIdeographOfBert(char32_t character) {
  constexpr struct {
    char32_t first;
    char32_t last;
  } kRanges[] = {{0x3400, 0x4DBF},   {0x4E00, 0x9FFF},   {0xF900, 0xFAFF},  {0x20000, 0x2A6DF},
                 {0x2A700, 0x2B81F}, {0x2B920, 0x2CEAF}, {0x2F800, 0x2FA1F}};
  for (const auto& range : kRanges) {
    if (character >= range.first && character <= range.last) return true;
  }
  return false;
}

bool IsCombiningMark(char32_t character) {
  // Three have changed their category since.
  static const icu::UnicodeSet& set = MakeSet(u"[[[:M:]&[:Age=9.0:]]-[\\U000111C9]\\u1CF2\\u1CF3]");
  return set.contains(static_cast<UChar32>(character));
}

}  // namespace shira
