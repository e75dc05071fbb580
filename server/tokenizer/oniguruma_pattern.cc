#include "server/tokenizer/oniguruma_pattern.h"

#include <cstddef>
#include <vector>

#include "absl/strings/ascii.h"
#include "base/status_macros.h"
#include "base/strings.h"

namespace shira {
namespace {

// Without the brackets, for use inside of a class too.
constexpr std::string_view kWord = "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}";

class Translator {
 public:
  explicit Translator(std::string_view pattern) : pattern_(pattern) {}

  absl::StatusOr<std::string> Translate() {
    while (offset_ < pattern_.size()) {
      SHIRA_RETURN_IF_ERROR(in_class_ ? ClassItem() : Item());
    }
    return std::move(result_);
  }

 private:
  bool At(std::string_view text) const { return pattern_.substr(offset_).starts_with(text); }

  // One whole character is not needed: bytes of others than ASCII are copied as they are.
  void Copy(size_t bytes) {
    result_ += pattern_.substr(offset_, bytes);
    offset_ += bytes;
  }

  void Replace(size_t bytes, std::string_view replacement) {
    result_ += replacement;
    offset_ += bytes;
  }

  absl::Status Unknown(std::string_view what) const {
    return absl::UnimplementedError(StrCat("regular expression '", pattern_, "', offset ", offset_,
                                           ": this program has no equal of ", what));
  }

  absl::Status Item() {
    if (At("{")) return Interval();
    if (At(")")) return EndOfGroup();
    if ((static_cast<unsigned char>(pattern_[offset_]) & 0xC0) != 0x80) atom_ = result_.size();
    if (At("\\")) return Escape();
    if (At("[")) {
      in_class_ = true;
      Copy(At("[^") ? 2 : 1);
      if (At("]")) Replace(1, "\\]");  // a literal at the first place
      return absl::OkStatus();
    }
    if (At("(")) groups_.push_back(result_.size());
    if (At("(?")) return Group();
    Copy(1);
    return absl::OkStatus();
  }

  absl::Status EndOfGroup() {
    if (!groups_.empty()) {
      atom_ = groups_.back();
      groups_.pop_back();
    }
    Copy(1);
    return absl::OkStatus();
  }

  absl::Status ClassItem() {
    if (At("\\")) return Escape();
    if (At("[:")) return Unknown("a POSIX bracket");
    if (At("[")) return Unknown("a class inside of a class");
    if (At("&&")) return Unknown("an intersection of classes");
    if (At("]")) in_class_ = false;
    Copy(1);
    return absl::OkStatus();
  }

  absl::Status Group() {
    for (const std::string_view opening :
         {"(?:", "(?=", "(?!", "(?>", "(?<=", "(?<!", "(?i:", "(?-i:"}) {
      if (At(opening)) {
        Copy(opening.size());
        return absl::OkStatus();
      }
    }
    // Elsewhere it would reach over the alternatives to its right in Oniguruma, and not in PCRE2.
    if (At("(?i)") && offset_ == 0) {
      groups_.clear();
      Copy(4);
      return absl::OkStatus();
    }
    return Unknown("this group");
  }

  absl::Status Interval() {
    size_t end = offset_ + 1;
    bool comma = false;
    while (end < pattern_.size() &&
           (absl::ascii_isdigit(pattern_[end]) || (pattern_[end] == ',' && !comma))) {
      comma = comma || pattern_[end] == ',';
      ++end;
    }
    const std::string_view body = pattern_.substr(offset_ + 1, end - offset_ - 1);
    if (end == pattern_.size() || pattern_[end] != '}' || body.empty() || body == ",") {
      Replace(1, "\\{");  // no interval: the brace itself
      return absl::OkStatus();
    }
    const size_t length = end + 1 - offset_;
    Replace(length, StrCat("{", body.front() == ',' ? "0" : "", body, "}"));
    if (At("?") && !comma) return Unknown("a lazy {n}");
    if (At("+")) {
      result_.insert(atom_, "(?:");
      Replace(1, ")+");
    }
    return absl::OkStatus();
  }

  absl::Status Escape() {
    if (offset_ + 1 == pattern_.size()) return Unknown("a backslash at the end");
    const char letter = pattern_[offset_ + 1];
    switch (letter) {
      case 's':
        Replace(2, "\\p{White_Space}");
        return absl::OkStatus();
      case 'S':
        Replace(2, "\\P{White_Space}");
        return absl::OkStatus();
      case 'w':
        Replace(2, in_class_ ? std::string(kWord) : StrCat("[", kWord, "]"));
        return absl::OkStatus();
      case 'v':
        Replace(2, "\\x0b");
        return absl::OkStatus();
      case 'u':
        if (offset_ + 6 > pattern_.size()) return Unknown("\\u without four digits");
        Replace(6, StrCat("\\x{", pattern_.substr(offset_ + 2, 4), "}"));
        return absl::OkStatus();
      case 'p':
      case 'P':
        return Property();
      case 'd':
      case 'D':
      case 'x':
      case 'n':
      case 'r':
      case 't':
      case 'f':
      case 'a':
      case 'e':
        Copy(2);
        return absl::OkStatus();
    }
    if (!in_class_) {
      const std::string word = StrCat("[", kWord, "]");
      switch (letter) {
        case 'W':
          Replace(2, StrCat("[^", kWord, "]"));
          return absl::OkStatus();
        case 'b':
          Replace(2, StrCat("(?:(?<=", word, ")(?!", word, ")|(?<!", word, ")(?=", word, "))"));
          return absl::OkStatus();
        case 'B':
          Replace(2, StrCat("(?:(?<=", word, ")(?=", word, ")|(?<!", word, ")(?!", word, "))"));
          return absl::OkStatus();
        case 'A':
        case 'z':
        case 'Z':
          Copy(2);
          return absl::OkStatus();
      }
    }
    if (absl::ascii_isalnum(letter)) return Unknown(StrCat("\\", std::string(1, letter)));
    Copy(2);
    return absl::OkStatus();
  }

  absl::Status Property() {
    const size_t end = pattern_.find('}', offset_);
    if (offset_ + 2 >= pattern_.size() || pattern_[offset_ + 2] != '{' || end == pattern_.npos) {
      return Unknown("a property without braces");
    }
    std::string_view name = pattern_.substr(offset_ + 3, end - offset_ - 3);
    std::string prefix = StrCat(pattern_.substr(offset_, 2), "{");
    if (name.starts_with("^")) {
      prefix += "^";
      name.remove_prefix(1);
    }
    // One or two letters name a general category, anything longer a script.
    const bool category = name.size() <= 2 || name == "Any" || name == "White_Space";
    Replace(end + 1 - offset_, StrCat(prefix, category ? "" : "sc:", name, "}"));
    return absl::OkStatus();
  }

  const std::string_view pattern_;
  size_t offset_ = 0;
  bool in_class_ = false;
  std::string result_;
  size_t atom_ = 0;             // where in result_ the item that a quantifier would repeat begins
  std::vector<size_t> groups_;  // where the open groups begin
};

}  // namespace

absl::StatusOr<std::string> PcreFromOniguruma(std::string_view pattern) {
  return Translator(pattern).Translate();
}

}  // namespace shira
