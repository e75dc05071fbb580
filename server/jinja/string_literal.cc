#include "server/jinja/string_literal.h"

#include <charconv>
#include <optional>

#include "absl/strings/ascii.h"
#include "absl/strings/str_format.h"
#include "base/strings.h"
#include "server/jinja/text.h"
#include "server/tokenizer/utf8.h"

namespace shira::jinja {
namespace {

std::optional<char> SimpleEscape(char c) {
  switch (c) {
    case '\\':
    case '\'':
    case '"':
      return c;
    case 'a':
      return '\a';
    case 'b':
      return '\b';
    case 'f':
      return '\f';
    case 'n':
      return '\n';
    case 'r':
      return '\r';
    case 't':
      return '\t';
    case 'v':
      return '\v';
    default:
      return std::nullopt;
  }
}

size_t HexDigits(char c) { return c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0; }

}  // namespace

absl::StatusOr<std::string> UnescapeStringLiteral(std::string_view literal) {
  std::string text;
  for (size_t i = 0; i < literal.size();) {
    if (literal[i] != '\\') {
      text += literal[i++];
      continue;
    }
    if (++i == literal.size()) return absl::InvalidArgumentError("the string ends in a backslash");
    const char c = literal[i];
    if (const std::optional<char> simple = SimpleEscape(c)) {
      text += *simple;
      ++i;
    } else if (c == '\n') {
      ++i;  // a line that is continued
    } else if (c >= '0' && c <= '7') {
      char32_t code_point = 0;
      for (size_t digits = 0;
           digits < 3 && i < literal.size() && literal[i] >= '0' && literal[i] <= '7'; ++digits) {
        code_point = code_point * 8 + static_cast<char32_t>(literal[i++] - '0');
      }
      AppendUtf8(code_point, &text);
    } else if (const size_t digits = HexDigits(c); digits > 0) {
      const std::string_view hex = literal.substr(i + 1, digits);
      uint32_t code_point = 0;
      const auto parsed = std::from_chars(hex.data(), hex.data() + hex.size(), code_point, 16);
      if (hex.size() < digits || parsed.ptr != hex.data() + hex.size()) {
        return absl::InvalidArgumentError(
            StrCat("the escape \\", std::string(1, c), " needs ", digits, " hex digits"));
      }
      if (code_point > 0x10FFFF || (code_point >= 0xD800 && code_point <= 0xDFFF)) {
        return absl::InvalidArgumentError(
            StrCat("the escape \\", std::string(1, c), hex, " is no Unicode character"));
      }
      AppendUtf8(code_point, &text);
      i += 1 + digits;
    } else if (c == 'N') {
      return absl::UnimplementedError("the escape \\N{name} in a string");
    } else if (static_cast<unsigned char>(c) < 0x80) {
      text += '\\';
      text += c;
      ++i;
    } else {
      // Python turns the character into an escape before it unescapes, so that the backslash
      // escapes that escape.
      const auto code_point = static_cast<uint32_t>(NextCharacter(literal, &i));
      if (code_point < 0x100) {
        absl::StrAppendFormat(&text, "\\x%02x", code_point);
      } else if (code_point < 0x10000) {
        absl::StrAppendFormat(&text, "\\u%04x", code_point);
      } else {
        absl::StrAppendFormat(&text, "\\U%08x", code_point);
      }
    }
  }
  return text;
}

}  // namespace shira::jinja
