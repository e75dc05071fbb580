#include "server/jinja/text.h"

#include <unicode/locid.h>
#include <unicode/uchar.h>
#include <unicode/unistr.h>
#include <unicode/ustring.h>

#include "absl/strings/str_format.h"
#include "base/strings.h"
#include "server/tokenizer/utf8.h"

namespace shira::jinja {
namespace {

icu::UnicodeString ToIcu(std::string_view text) {
  return icu::UnicodeString::fromUTF8(
      icu::StringPiece(text.data(), static_cast<int32_t>(text.size())));
}

std::string FromIcu(const icu::UnicodeString& text) {
  std::string utf8;
  text.toUTF8String(utf8);
  return utf8;
}

bool IsAscii(std::string_view text) {
  for (const char c : text) {
    if (static_cast<unsigned char>(c) >= 0x80) return false;
  }
  return true;
}

template <typename Change>
std::string MapAscii(std::string_view text, Change change) {
  std::string mapped(text);
  for (char& c : mapped) c = change(c);
  return mapped;
}

char AsciiUpper(char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c; }
char AsciiLower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

bool IsCased(char32_t c) {
  return u_hasBinaryProperty(static_cast<UChar32>(c), UCHAR_LOWERCASE) ||
         u_hasBinaryProperty(static_cast<UChar32>(c), UCHAR_UPPERCASE) ||
         u_charType(static_cast<UChar32>(c)) == U_TITLECASE_LETTER;
}

// The lower case of one character of a text: that of a sigma depends on its neighbours.
std::string LowerAt(const std::u32string& text, size_t index) {
  constexpr char32_t kCapitalSigma = 0x3A3;
  constexpr char32_t kFinalSigma = 0x3C2;
  std::string lowered;
  if (text[index] != kCapitalSigma) {
    AppendUtf8(text[index], &lowered);
    return Lower(lowered);
  }
  const auto ignorable = [](char32_t c) {
    return u_hasBinaryProperty(static_cast<UChar32>(c), UCHAR_CASE_IGNORABLE) != 0;
  };
  size_t before = index;
  while (before > 0 && ignorable(text[before - 1])) --before;
  size_t after = index + 1;
  while (after < text.size() && ignorable(text[after])) ++after;
  const bool final =
      before > 0 && IsCased(text[before - 1]) && (after == text.size() || !IsCased(text[after]));
  AppendUtf8(final ? kFinalSigma : kFinalSigma + 1, &lowered);
  return lowered;
}

// The full title-case mapping of one character, which can have several ("ß" gives "Ss").
std::string TitleCharacter(char32_t c) {
  std::string text;
  AppendUtf8(c, &text);
  UChar source[2];
  UChar target[8];
  UErrorCode error = U_ZERO_ERROR;
  int32_t source_length = 0;
  u_strFromUTF8(source, 2, &source_length, text.data(), static_cast<int32_t>(text.size()), &error);
  const int32_t length = u_strToTitle(target, 8, source, source_length, nullptr, "", &error);
  if (U_FAILURE(error)) return text;
  return FromIcu(icu::UnicodeString(target, length));
}

template <typename Predicate>
bool All(std::string_view text, Predicate predicate) {
  if (text.empty()) return false;
  for (size_t position = 0; position < text.size();) {
    if (!predicate(NextCharacter(text, &position))) return false;
  }
  return true;
}

bool IsDigitType(char32_t c) {
  const auto type =
      static_cast<UNumericType>(u_getIntPropertyValue(static_cast<UChar32>(c), UCHAR_NUMERIC_TYPE));
  return type == U_NT_DECIMAL || type == U_NT_DIGIT;
}

bool IsNumericType(char32_t c) {
  return u_getIntPropertyValue(static_cast<UChar32>(c), UCHAR_NUMERIC_TYPE) != U_NT_NONE;
}

bool IsDecimalType(char32_t c) {
  return u_getIntPropertyValue(static_cast<UChar32>(c), UCHAR_NUMERIC_TYPE) == U_NT_DECIMAL;
}

bool IsAlphaType(char32_t c) { return (U_GET_GC_MASK(static_cast<UChar32>(c)) & U_GC_L_MASK) != 0; }

bool IsPrintable(char32_t c) {
  if (c == ' ') return true;
  constexpr uint32_t kNotPrintable = U_GC_C_MASK | U_GC_Z_MASK;
  return (U_GET_GC_MASK(static_cast<UChar32>(c)) & kNotPrintable) == 0;
}

size_t Utf8Length(char32_t c) { return c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4; }

bool IsLineBreak(char32_t c) {
  return (c >= 0x0A && c <= 0x0D) || (c >= 0x1C && c <= 0x1E) || c == 0x85 || c == 0x2028 ||
         c == 0x2029;
}

}  // namespace

std::u32string ToCodePoints(std::string_view text) {
  std::u32string code_points;
  code_points.reserve(text.size());
  for (size_t position = 0; position < text.size();) {
    code_points += NextCharacter(text, &position);
  }
  return code_points;
}

std::string FromCodePoints(std::u32string_view code_points) {
  std::string text;
  text.reserve(code_points.size());
  for (const char32_t c : code_points) AppendUtf8(c, &text);
  return text;
}

size_t CodePointCount(std::string_view text) {
  size_t count = 0;
  for (const char c : text) count += (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  return count;
}

bool IsSpace(char32_t c) {
  if (c < 0x80) return c == ' ' || (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x1F);
  return c == 0x85 || c == 0x2028 || c == 0x2029 ||
         u_charType(static_cast<UChar32>(c)) == U_SPACE_SEPARATOR;
}

bool IsIdentifierStart(char32_t c) {
  return c == '_' || u_hasBinaryProperty(static_cast<UChar32>(c), UCHAR_XID_START);
}

bool IsIdentifierPart(char32_t c) {
  return u_hasBinaryProperty(static_cast<UChar32>(c), UCHAR_XID_CONTINUE);
}

std::string_view Strip(std::string_view text, Side side,
                       std::optional<std::string_view> characters) {
  const std::u32string set = characters ? ToCodePoints(*characters) : std::u32string();
  const auto strippable = [&](char32_t c) {
    return characters ? set.find(c) != std::u32string::npos : IsSpace(c);
  };
  size_t begin = 0;
  size_t end = text.size();
  while (side != Side::kRight && begin < end) {
    size_t next = begin;
    if (!strippable(NextCharacter(text, &next))) break;
    begin = next;
  }
  while (side != Side::kLeft && end > begin) {
    const char32_t c = PreviousCharacter(text, end);
    if (!strippable(c)) break;
    end -= Utf8Length(c);
  }
  return text.substr(begin, end - begin);
}

bool ConsumePrefix(std::string_view& text, std::string_view prefix) {
  if (!text.starts_with(prefix)) return false;
  text.remove_prefix(prefix.size());
  return true;
}

bool ConsumeSuffix(std::string_view& text, std::string_view suffix) {
  if (!text.ends_with(suffix)) return false;
  text.remove_suffix(suffix.size());
  return true;
}

std::string Upper(std::string_view text) {
  if (IsAscii(text)) return MapAscii(text, AsciiUpper);
  return FromIcu(ToIcu(text).toUpper(icu::Locale::getRoot()));
}

std::string Lower(std::string_view text) {
  if (IsAscii(text)) return MapAscii(text, AsciiLower);
  return FromIcu(ToIcu(text).toLower(icu::Locale::getRoot()));
}

std::string Title(std::string_view text) {
  const std::u32string code_points = ToCodePoints(text);
  std::string title;
  bool after_cased = false;
  for (size_t i = 0; i < code_points.size(); ++i) {
    title += after_cased ? LowerAt(code_points, i) : TitleCharacter(code_points[i]);
    after_cased = IsCased(code_points[i]);
  }
  return title;
}

std::string Capitalize(std::string_view text) {
  const std::u32string code_points = ToCodePoints(text);
  std::string capitalized;
  for (size_t i = 0; i < code_points.size(); ++i) {
    capitalized += i == 0 ? TitleCharacter(code_points[i]) : LowerAt(code_points, i);
  }
  return capitalized;
}

std::string SwapCase(std::string_view text) {
  const std::u32string code_points = ToCodePoints(text);
  std::string swapped;
  for (size_t i = 0; i < code_points.size(); ++i) {
    const auto c = static_cast<UChar32>(code_points[i]);
    if (u_hasBinaryProperty(c, UCHAR_UPPERCASE)) {
      swapped += LowerAt(code_points, i);
      continue;
    }
    std::string character;
    AppendUtf8(code_points[i], &character);
    swapped += u_hasBinaryProperty(c, UCHAR_LOWERCASE) ? Upper(character) : character;
  }
  return swapped;
}

bool IsUpper(std::string_view text) {
  bool cased = false;
  for (size_t position = 0; position < text.size();) {
    const auto c = static_cast<UChar32>(NextCharacter(text, &position));
    if (u_hasBinaryProperty(c, UCHAR_LOWERCASE) || u_charType(c) == U_TITLECASE_LETTER) {
      return false;
    }
    cased = cased || u_hasBinaryProperty(c, UCHAR_UPPERCASE);
  }
  return cased;
}

bool IsLower(std::string_view text) {
  bool cased = false;
  for (size_t position = 0; position < text.size();) {
    const auto c = static_cast<UChar32>(NextCharacter(text, &position));
    if (u_hasBinaryProperty(c, UCHAR_UPPERCASE) || u_charType(c) == U_TITLECASE_LETTER) {
      return false;
    }
    cased = cased || u_hasBinaryProperty(c, UCHAR_LOWERCASE);
  }
  return cased;
}

bool IsTitle(std::string_view text) {
  bool cased = false;
  bool after_cased = false;
  for (size_t position = 0; position < text.size();) {
    const auto c = static_cast<UChar32>(NextCharacter(text, &position));
    if (u_hasBinaryProperty(c, UCHAR_UPPERCASE) || u_charType(c) == U_TITLECASE_LETTER) {
      if (after_cased) return false;
      cased = after_cased = true;
    } else if (u_hasBinaryProperty(c, UCHAR_LOWERCASE)) {
      if (!after_cased) return false;
    } else {
      after_cased = false;
    }
  }
  return cased;
}

bool IsAlpha(std::string_view text) { return All(text, IsAlphaType); }
bool IsDigit(std::string_view text) { return All(text, IsDigitType); }
bool IsDecimal(std::string_view text) { return All(text, IsDecimalType); }
bool IsNumeric(std::string_view text) { return All(text, IsNumericType); }
bool IsAllSpace(std::string_view text) { return All(text, IsSpace); }
bool IsAlnum(std::string_view text) {
  return All(text, [](char32_t c) { return IsAlphaType(c) || IsNumericType(c); });
}

std::vector<std::string> Split(std::string_view text, std::optional<std::string_view> separator,
                               int64_t max_splits) {
  std::vector<std::string> parts;
  const auto may_split = [&] {
    return max_splits < 0 || static_cast<int64_t>(parts.size()) < max_splits;
  };
  if (separator) {
    size_t begin = 0;
    while (may_split()) {
      const size_t at = text.find(*separator, begin);
      if (at == std::string_view::npos) break;
      parts.emplace_back(text.substr(begin, at - begin));
      begin = at + separator->size();
    }
    parts.emplace_back(text.substr(begin));
    return parts;
  }
  text = Strip(text, Side::kLeft);
  while (!text.empty()) {
    if (!may_split()) {
      // The rest keeps its trailing white space.
      parts.emplace_back(text);
      break;
    }
    size_t end = 0;
    for (size_t position = 0; position < text.size(); end = position) {
      if (IsSpace(NextCharacter(text, &position))) break;
    }
    parts.emplace_back(text.substr(0, end));
    text = Strip(text.substr(end), Side::kLeft);
  }
  return parts;
}

std::vector<std::string> SplitFromRight(std::string_view text,
                                        std::optional<std::string_view> separator,
                                        int64_t max_splits) {
  std::vector<std::string> parts;
  const auto may_split = [&] {
    return max_splits < 0 || static_cast<int64_t>(parts.size()) < max_splits;
  };
  if (separator) {
    while (may_split()) {
      const size_t at = text.rfind(*separator);
      if (at == std::string_view::npos) break;
      parts.emplace_back(text.substr(at + separator->size()));
      text = text.substr(0, at);
    }
    parts.emplace_back(text);
  } else {
    text = Strip(text, Side::kRight);
    while (!text.empty()) {
      if (!may_split()) {
        parts.emplace_back(text);
        break;
      }
      size_t begin = text.size();
      while (begin > 0) {
        const char32_t c = PreviousCharacter(text, begin);
        if (IsSpace(c)) break;
        begin -= Utf8Length(c);
      }
      parts.emplace_back(text.substr(begin));
      text = Strip(text.substr(0, begin), Side::kRight);
    }
  }
  return std::vector<std::string>(parts.rbegin(), parts.rend());
}

std::vector<std::string> SplitLines(std::string_view text, bool keep_ends) {
  std::vector<std::string> lines;
  size_t begin = 0;
  for (size_t position = 0; position < text.size();) {
    const size_t end = position;
    const char32_t c = NextCharacter(text, &position);
    if (!IsLineBreak(c)) continue;
    if (c == '\r' && position < text.size() && text[position] == '\n') ++position;
    lines.emplace_back(text.substr(begin, (keep_ends ? position : end) - begin));
    begin = position;
  }
  if (begin < text.size()) lines.emplace_back(text.substr(begin));
  return lines;
}

std::optional<std::string> Replace(std::string_view text, std::string_view from,
                                   std::string_view to, int64_t count, size_t max_bytes) {
  std::string result;
  int64_t replaced = 0;
  const auto may_replace = [&] { return count < 0 || replaced < count; };
  size_t position = 0;
  if (from.empty()) {
    while (may_replace()) {
      result += to;
      ++replaced;
      if (result.size() > max_bytes) return std::nullopt;
      if (position >= text.size()) return result;
      const size_t start = position;
      NextCharacter(text, &position);
      result += text.substr(start, position - start);
    }
  } else {
    while (may_replace()) {
      const size_t at = text.find(from, position);
      if (at == std::string_view::npos) break;
      result += text.substr(position, at - position);
      result += to;
      ++replaced;
      position = at + from.size();
      if (result.size() > max_bytes) return std::nullopt;
    }
  }
  result += text.substr(position);
  if (result.size() > max_bytes) return std::nullopt;
  return result;
}

std::string ReprString(std::string_view text) {
  const bool double_quoted =
      text.find('\'') != std::string_view::npos && text.find('"') == std::string_view::npos;
  const char quote = double_quoted ? '"' : '\'';
  std::string repr(1, quote);
  for (size_t position = 0; position < text.size();) {
    const size_t start = position;
    const char32_t c = NextCharacter(text, &position);
    if (c == static_cast<char32_t>(quote) || c == '\\') {
      repr += '\\';
      repr += static_cast<char>(c);
    } else if (c == '\n') {
      repr += "\\n";
    } else if (c == '\r') {
      repr += "\\r";
    } else if (c == '\t') {
      repr += "\\t";
    } else if (IsPrintable(c)) {
      repr += text.substr(start, position - start);
    } else if (c < 0x100) {
      absl::StrAppendFormat(&repr, "\\x%02x", static_cast<uint32_t>(c));
    } else if (c < 0x10000) {
      absl::StrAppendFormat(&repr, "\\u%04x", static_cast<uint32_t>(c));
    } else {
      absl::StrAppendFormat(&repr, "\\U%08x", static_cast<uint32_t>(c));
    }
  }
  repr += quote;
  return repr;
}

std::string EscapeHtml(std::string_view text) {
  std::string escaped;
  for (const char c : text) {
    switch (c) {
      case '&':
        escaped += "&amp;";
        break;
      case '<':
        escaped += "&lt;";
        break;
      case '>':
        escaped += "&gt;";
        break;
      case '\'':
        escaped += "&#39;";
        break;
      case '"':
        escaped += "&#34;";
        break;
      default:
        escaped += c;
    }
  }
  return escaped;
}

}  // namespace shira::jinja
