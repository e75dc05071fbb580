#include "server/jinja/numbers.h"

#include <charconv>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <system_error>

#include "absl/strings/ascii.h"
#include "absl/strings/str_format.h"
#include "base/strings.h"
#include "server/jinja/text.h"

namespace shira::jinja {
namespace {

// Python's int() and float() take single underscores between digits only.
std::optional<std::string> RemoveDigitSeparators(std::string_view text) {
  std::string digits;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '_') {
      digits += text[i];
      continue;
    }
    const bool between = i > 0 && i + 1 < text.size() &&
                         absl::ascii_isalnum(static_cast<unsigned char>(text[i - 1])) &&
                         absl::ascii_isalnum(static_cast<unsigned char>(text[i + 1]));
    if (!between) return std::nullopt;
  }
  return digits;
}

}  // namespace

std::string ReprFloat(double number) {
  if (std::isnan(number)) return "nan";
  if (std::isinf(number)) return number > 0 ? "inf" : "-inf";
  char buffer[64];
  const auto written =
      std::to_chars(buffer, buffer + sizeof(buffer), number, std::chars_format::scientific);
  const std::string_view scientific(buffer, written.ptr - buffer);
  const size_t e = scientific.find('e');
  std::string digits;
  for (const char c : scientific.substr(0, e)) {
    if (c >= '0' && c <= '9') digits += c;
  }
  int exponent = 0;
  const size_t exponent_at = scientific[e + 1] == '+' ? e + 2 : e + 1;
  std::from_chars(scientific.data() + exponent_at, scientific.data() + scientific.size(), exponent);
  const std::string sign = std::signbit(number) ? "-" : "";
  if (exponent < -4 || exponent >= 16) {
    const std::string fraction = digits.size() > 1 ? "." + digits.substr(1) : "";
    return absl::StrFormat("%s%c%se%c%02d", sign, digits[0], fraction, exponent < 0 ? '-' : '+',
                           std::abs(exponent));
  }
  if (exponent < 0) return StrCat(sign, "0.", std::string(-exponent - 1, '0'), digits);
  const auto whole = static_cast<size_t>(exponent) + 1;
  if (digits.size() <= whole) {
    return StrCat(sign, digits, std::string(whole - digits.size(), '0'), ".0");
  }
  return StrCat(sign, digits.substr(0, whole), ".", digits.substr(whole));
}

std::optional<int64_t> ParseInteger(std::string_view text, int base, bool& overflow) {
  overflow = false;
  text = Strip(text, Side::kBoth);
  bool negative = false;
  if (!text.empty() && (text[0] == '+' || text[0] == '-')) {
    negative = text[0] == '-';
    text.remove_prefix(1);
  }
  const auto prefix_base = [&]() -> int {
    if (text.size() < 2 || text[0] != '0') return 0;
    const char letter = absl::ascii_tolower(static_cast<unsigned char>(text[1]));
    return letter == 'x' ? 16 : letter == 'o' ? 8 : letter == 'b' ? 2 : 0;
  };
  const int prefixed = prefix_base();
  if (prefixed != 0 && (base == 0 || base == prefixed)) {
    base = prefixed;
    text.remove_prefix(2);
    if (!text.empty() && text[0] == '_') text.remove_prefix(1);
  } else if (base == 0) {
    base = 10;
    if (text.size() > 1 && text[0] == '0' && text.find_first_not_of("0_") != text.npos) {
      return std::nullopt;
    }
  }
  if (base < 2 || base > 36) return std::nullopt;
  const std::optional<std::string> digits = RemoveDigitSeparators(text);
  if (!digits || digits->empty() ||
      !absl::ascii_isalnum(static_cast<unsigned char>((*digits)[0]))) {
    return std::nullopt;
  }
  const std::string signed_digits = (negative ? "-" : "") + *digits;
  int64_t number = 0;
  const char* end = signed_digits.data() + signed_digits.size();
  const auto parsed = std::from_chars(signed_digits.data(), end, number, base);
  if (parsed.ptr != end) return std::nullopt;
  overflow = parsed.ec == std::errc::result_out_of_range;
  if (overflow || parsed.ec != std::errc()) return std::nullopt;
  return number;
}

std::optional<double> ParseFloat(std::string_view text) {
  text = Strip(text, Side::kBoth);
  const std::optional<std::string> digits = RemoveDigitSeparators(text);
  if (!digits || digits->empty()) return std::nullopt;
  std::string_view rest = *digits;
  const bool negative = rest[0] == '-';
  if (rest[0] == '+' || rest[0] == '-') rest.remove_prefix(1);
  if (rest.empty()) return std::nullopt;
  const std::string lowered = absl::AsciiStrToLower(ToAbsl(rest));
  double number = 0;
  if (lowered == "inf" || lowered == "infinity") {
    number = std::numeric_limits<double>::infinity();
  } else if (lowered == "nan") {
    number = std::numeric_limits<double>::quiet_NaN();
  } else {
    if (rest[0] != '.' && (rest[0] < '0' || rest[0] > '9')) return std::nullopt;
    const auto parsed = std::from_chars(rest.data(), rest.data() + rest.size(), number);
    if (parsed.ptr != rest.data() + rest.size()) return std::nullopt;
    if (parsed.ec == std::errc::result_out_of_range) {
      // from_chars leaves the number alone; strtod rounds to zero or infinity as Python does.
      number = std::strtod(std::string(rest).c_str(), nullptr);
    } else if (parsed.ec != std::errc()) {
      return std::nullopt;
    }
  }
  return negative ? -number : number;
}

}  // namespace shira::jinja
