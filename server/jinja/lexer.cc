#include "server/jinja/lexer.h"

#include <algorithm>
#include <array>
#include <utility>

#include "absl/strings/ascii.h"
#include "base/status_macros.h"
#include "base/strings.h"
#include "server/jinja/limits.h"
#include "server/jinja/numbers.h"
#include "server/jinja/string_literal.h"
#include "server/jinja/text.h"
#include "server/tokenizer/utf8.h"

namespace shira::jinja {

absl::Status At(const Position& position, const absl::Status& status) {
  return absl::Status(status.code(), StrCat("line ", position.line, ", column ", position.column,
                                            ": ", status.message()));
}

absl::Status SyntaxError(const Position& position, std::string_view message) {
  return At(position, absl::InvalidArgumentError(ToAbsl(message)));
}

namespace {

// The longest first.
constexpr std::array<std::string_view, 26> kOperators = {
    "//", "**", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[",
    "]",  "(",  ")",  "{",  "}",  ">",  "<", "=", ".", ":", "|", ",", ";"};

// "\r\n" and "\r" become "\n", and one newline at the end is dropped.
std::string NormalizeNewlines(std::string_view source) {
  std::string text;
  text.reserve(source.size());
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] == '\r') {
      text += '\n';
      if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
    } else {
      text += source[i];
    }
  }
  if (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

class Lexer {
 public:
  explicit Lexer(std::string_view source) : source_(NormalizeNewlines(source)) {}

  absl::StatusOr<std::vector<Token>> Run() && {
    while (offset_ < source_.size()) {
      const size_t tag = FindTag();
      if (tag == std::string::npos) {
        AddText(std::string_view(source_).substr(offset_));
        MoveTo(source_.size());
        break;
      }
      SHIRA_RETURN_IF_ERROR(LexTag(tag));
    }
    Add(Token::Kind::kEnd);
    return std::move(tokens_);
  }

 private:
  std::string_view Rest() const { return std::string_view(source_).substr(offset_); }
  bool At(std::string_view text) const { return Rest().starts_with(text); }

  absl::Status Error(std::string_view message) const { return SyntaxError(position_, message); }

  void MoveTo(size_t offset) {
    for (; offset_ < offset; ++offset_) {
      if (source_[offset_] == '\n') {
        ++position_.line;
        position_.column = 1;
      } else if ((static_cast<unsigned char>(source_[offset_]) & 0xC0) != 0x80) {
        ++position_.column;
      }
    }
  }
  void Skip(size_t bytes) { MoveTo(offset_ + bytes); }

  void SkipSpace() {
    const std::string_view rest = Rest();
    Skip(rest.size() - Strip(rest, Side::kLeft).size());
  }

  Token& Add(Token::Kind kind, std::string text = "") {
    tokens_.push_back(Token{kind, position_, std::move(text)});
    return tokens_.back();
  }

  void AddText(std::string_view text) {
    if (!text.empty()) Add(Token::Kind::kText, std::string(text));
  }

  size_t FindTag() const {
    for (size_t at = source_.find('{', offset_); at != std::string::npos && at + 1 < source_.size();
         at = source_.find('{', at + 1)) {
      const char next = source_[at + 1];
      if (next == '%' || next == '{' || next == '#') return at;
    }
    return std::string::npos;
  }

  // What of the text before a tag is printed. `sign` follows the tag's two characters.
  std::string_view Trimmed(std::string_view text, char sign, bool lstrip) const {
    if (sign == '-') return Strip(text, Side::kRight);
    if (sign == '+' || !lstrip) return text;
    const size_t newline = text.rfind('\n');
    const size_t line = newline == std::string_view::npos ? 0 : newline + 1;
    if (line == 0 && !line_starting_) return text;
    return Strip(text.substr(line), Side::kLeft).empty() ? text.substr(0, line) : text;
  }

  char SignAt(size_t offset) const {
    const char c = offset < source_.size() ? source_[offset] : '\0';
    return c == '-' || c == '+' ? c : '\0';
  }

  absl::Status LexTag(size_t tag) {
    const char type = source_[tag + 1];
    const char sign = SignAt(tag + 2);
    AddText(Trimmed(std::string_view(source_).substr(offset_, tag - offset_), sign, type != '{'));
    MoveTo(tag);
    if (type == '#') {
      Skip(sign == '\0' ? 2 : 3);
      return LexComment();
    }
    if (type == '%') {
      const size_t raw = RawBegin();
      if (raw != 0) {
        Skip(raw);
        return LexRaw();
      }
    }
    Add(type == '{' ? Token::Kind::kVariableBegin : Token::Kind::kBlockBegin);
    Skip(sign == '\0' ? 2 : 3);
    return LexExpressions(type == '{');
  }

  // Ends a block, a comment or raw text: "%}" with what its sign and trim_blocks take away after
  // it. False if it is not there.
  bool SkipEnd(std::string_view end) {
    if (At(StrCat("-", end))) {
      Skip(1 + end.size());
      const size_t start = offset_;
      SkipSpace();
      line_starting_ = offset_ > start && source_[offset_ - 1] == '\n';
      return true;
    }
    const bool keep = At(StrCat("+", end));
    if (!keep && !At(end)) return false;
    Skip((keep ? 1 : 0) + end.size());
    line_starting_ = !keep && At("\n");
    if (line_starting_) Skip(1);
    return true;
  }

  absl::Status LexComment() {
    const Position begin = position_;
    const bool empty = offset_ == source_.size();
    while (offset_ < source_.size()) {
      if (SkipEnd("#}")) return absl::OkStatus();
      Skip(1);
    }
    // jinja2 takes a comment that begins at the very end.
    if (empty) return absl::OkStatus();
    return SyntaxError(begin, "the comment does not end: expected '#}'");
  }

  // The length of "{% raw %}" here, 0 if it is something else. trim_blocks does not apply to it.
  size_t RawBegin() const {
    std::string_view rest = Rest();
    const size_t length = rest.size();
    rest.remove_prefix(SignAt(offset_ + 2) == '\0' ? 2 : 3);
    rest = Strip(rest, Side::kLeft);
    if (!ConsumePrefix(rest, "raw")) return 0;
    rest = Strip(rest, Side::kLeft);
    if (ConsumePrefix(rest, "-%}")) {
      rest = Strip(rest, Side::kLeft);
    } else if (!ConsumePrefix(rest, "%}")) {
      return 0;
    }
    return length - rest.size();
  }

  absl::Status LexRaw() {
    const Position begin = position_;
    line_starting_ = offset_ > 0 && source_[offset_ - 1] == '\n';
    const size_t start = offset_;
    for (size_t tag = source_.find("{%", start); tag != std::string::npos;
         tag = source_.find("{%", tag + 1)) {
      const char sign = SignAt(tag + 2);
      std::string_view rest = std::string_view(source_).substr(tag + (sign == '\0' ? 2 : 3));
      rest = Strip(rest, Side::kLeft);
      if (!ConsumePrefix(rest, "endraw")) continue;
      rest = Strip(rest, Side::kLeft);
      if (!rest.starts_with("-%}") && !rest.starts_with("+%}") && !rest.starts_with("%}")) {
        continue;
      }
      AddText(Trimmed(std::string_view(source_).substr(start, tag - start), sign, true));
      MoveTo(source_.size() - rest.size());
      SkipEnd("%}");
      return absl::OkStatus();
    }
    if (start == source_.size()) return absl::OkStatus();  // as with comments
    return SyntaxError(begin, "the raw text does not end: expected '{% endraw %}'");
  }

  // The inside of {{ }} or {% %}, up to and with its end.
  absl::Status LexExpressions(bool variable) {
    brackets_.clear();
    while (offset_ < source_.size()) {
      if (brackets_.empty() && LexEnd(variable)) return absl::OkStatus();
      size_t position = offset_;
      const char32_t c = NextCharacter(source_, &position);
      if (IsSpace(c)) {
        SkipSpace();
      } else if (c >= '0' && c <= '9') {
        SHIRA_RETURN_IF_ERROR(LexNumber());
      } else if (IsIdentifierStart(c)) {
        LexName();
      } else if (c == '\'' || c == '"') {
        SHIRA_RETURN_IF_ERROR(LexString());
      } else {
        SHIRA_RETURN_IF_ERROR(LexOperator());
      }
    }
    return absl::OkStatus();  // the parser reports the missing end
  }

  bool LexEnd(bool variable) {
    const Position begin = position_;
    if (!variable) {
      if (!SkipEnd("%}")) return false;
      Add(Token::Kind::kBlockEnd).position = begin;
      return true;
    }
    if (At("-}}")) {
      Skip(3);
      const size_t start = offset_;
      SkipSpace();
      line_starting_ = offset_ > start && source_[offset_ - 1] == '\n';
    } else if (At("}}")) {
      Skip(2);
      line_starting_ = false;
    } else {
      return false;
    }
    Add(Token::Kind::kVariableEnd).position = begin;
    return true;
  }

  void LexName() {
    size_t end = offset_;
    while (end < source_.size()) {
      size_t next = end;
      if (!IsIdentifierPart(NextCharacter(source_, &next))) break;
      end = next;
    }
    Add(Token::Kind::kName, source_.substr(offset_, end - offset_));
    MoveTo(end);
  }

  // The end of a run of digits with single underscores between them, `begin` if there is none.
  template <typename IsDigit>
  size_t DigitsEnd(size_t begin, IsDigit is_digit) const {
    size_t end = begin;
    for (size_t i = begin; i < source_.size(); ++i) {
      if (is_digit(source_[i])) {
        end = i + 1;
      } else if (source_[i] != '_' || end != i) {
        break;
      }
    }
    return end;
  }

  // The end of the float that starts here, or offset_ where no float does.
  size_t FloatEnd() const {
    const auto is_digit = [](char c) { return absl::ascii_isdigit(c); };
    if (offset_ > 0 && source_[offset_ - 1] == '.') return offset_;
    size_t end = DigitsEnd(offset_, is_digit);
    const size_t whole = end;
    if (end < source_.size() && source_[end] == '.') {
      const size_t fraction = DigitsEnd(end + 1, is_digit);
      if (fraction > end + 1 && absl::ascii_isdigit(source_[end + 1])) end = fraction;
    }
    if (end < source_.size() && absl::ascii_tolower(source_[end]) == 'e') {
      size_t digits = end + 1;
      if (digits < source_.size() && (source_[digits] == '+' || source_[digits] == '-')) ++digits;
      if (digits < source_.size() && absl::ascii_isdigit(source_[digits])) {
        end = DigitsEnd(digits, is_digit);
      }
    }
    return end == whole ? offset_ : end;
  }

  size_t IntegerEnd() const {
    if (source_[offset_] != '0') {
      return DigitsEnd(offset_, [](char c) { return absl::ascii_isdigit(c); });
    }
    const char base =
        offset_ + 1 < source_.size() ? absl::ascii_tolower(source_[offset_ + 1]) : '\0';
    size_t end = offset_ + 2;
    if (end < source_.size() && source_[end] == '_') ++end;
    const size_t digits = end;
    if (base == 'x') end = DigitsEnd(end, [](char c) { return absl::ascii_isxdigit(c); });
    if (base == 'o') end = DigitsEnd(end, [](char c) { return c >= '0' && c <= '7'; });
    if (base == 'b') end = DigitsEnd(end, [](char c) { return c == '0' || c == '1'; });
    if (end > digits) return end;
    return DigitsEnd(offset_, [](char c) { return c == '0'; });
  }

  absl::Status LexNumber() {
    const size_t float_end = FloatEnd();
    if (float_end > offset_) {
      const std::string text = source_.substr(offset_, float_end - offset_);
      Token& token = Add(Token::Kind::kFloat, text);
      token.number = ParseFloat(text).value_or(0);
      MoveTo(float_end);
      return absl::OkStatus();
    }
    const size_t end = IntegerEnd();
    const std::string text = source_.substr(offset_, end - offset_);
    bool overflow = false;
    const std::optional<int64_t> integer = ParseInteger(text, 0, overflow);
    if (!integer) return Error(StrCat("the integer ", text, " has more than 64 bits"));
    Add(Token::Kind::kInteger, text).integer = *integer;
    MoveTo(end);
    return absl::OkStatus();
  }

  absl::Status LexString() {
    const char quote = source_[offset_];
    size_t end = offset_ + 1;
    while (end < source_.size() && source_[end] != quote) end += source_[end] == '\\' ? 2 : 1;
    if (end >= source_.size()) return Error("the string does not end");
    absl::StatusOr<std::string> text =
        UnescapeStringLiteral(std::string_view(source_).substr(offset_ + 1, end - offset_ - 1));
    if (!text.ok()) return jinja::At(position_, text.status());
    Add(Token::Kind::kString, *std::move(text));
    MoveTo(end + 1);
    return absl::OkStatus();
  }

  absl::Status LexOperator() {
    const auto found = std::find_if(kOperators.begin(), kOperators.end(),
                                    [this](std::string_view op) { return At(op); });
    if (found == kOperators.end()) {
      size_t position = offset_;
      NextCharacter(source_, &position);
      return Error(
          StrCat("unexpected character '", source_.substr(offset_, position - offset_), "'"));
    }
    const char c = (*found)[0];
    if (c == '(' || c == '[' || c == '{') {
      brackets_ += c == '(' ? ')' : c == '[' ? ']' : '}';
    } else if (c == ')' || c == ']' || c == '}') {
      if (brackets_.empty()) return Error(StrCat("unexpected '", *found, "'"));
      const char expected = brackets_.back();
      brackets_.pop_back();
      if (c != expected) {
        return Error(
            StrCat("unexpected '", *found, "', expected '", std::string(1, expected), "'"));
      }
    }
    Add(Token::Kind::kOperator, std::string(*found));
    Skip(found->size());
    return absl::OkStatus();
  }

  const std::string source_;
  size_t offset_ = 0;
  Position position_;
  // The text at offset_ starts a line, as far as lstrip_blocks is concerned.
  bool line_starting_ = true;
  std::string brackets_;  // the closing ones that are due
  std::vector<Token> tokens_;
};

}  // namespace

absl::StatusOr<std::vector<Token>> Tokenize(std::string_view source) {
  if (source.size() > kMaxSourceBytes) {
    return absl::InvalidArgumentError(StrCat("the template has ", source.size(), " bytes, at most ",
                                             kMaxSourceBytes, " are taken"));
  }
  if (FirstInvalidUtf8(source).has_value())
    return absl::InvalidArgumentError("the template is not valid UTF-8");
  return Lexer(source).Run();
}

}  // namespace shira::jinja
