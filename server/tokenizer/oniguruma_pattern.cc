#include "server/tokenizer/oniguruma_pattern.h"

#include <cstddef>
#include <initializer_list>
#include <map>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "base/status_macros.h"
#include "base/strings.h"
#include "server/tokenizer/matching_characters.h"
#include "server/tokenizer/newer_characters.h"
#include "server/tokenizer/utf8.h"

namespace shira {
namespace {

// What these categories hold, as members of a class, without brackets. It begins and ends with a
// property, so that a hyphen beside it makes no range.
std::string Categories(std::initializer_list<std::string_view> names) {
  std::string newer;
  std::string members;
  for (const std::string_view name : names) newer += NewerOfCategory(name);
  for (const std::string_view name : names) StrAppend(&members, "\\p{", name, "}");
  return newer.empty() ? members : StrCat(members, newer, members);
}

// Letters, marks, decimal digits, connectors, and the circled and squared letters, which are
// alphabetic and nothing else of these.
const std::string& WordOfClass() {
  static const std::string& word =
      *new std::string(StrCat("\\p{L}\\x{24b6}-\\x{24e9}\\x{1f130}-\\x{1f149}\\x{1f150}-\\x{1f169}",
                              "\\x{1f170}-\\x{1f189}", Categories({"L", "Nl", "M", "Nd", "Pc"})));
  return word;
}

// Outside of a class Oniguruma counts six characters of Latin-1 too, superscripts and fractions.
const std::string& Word() {
  static const std::string& word =
      *new std::string(StrCat("\\x{b2}\\x{b3}\\x{b9}\\x{bc}-\\x{be}", WordOfClass()));
  return word;
}

// Each takes a tenth of a second to translate. Published tokenizers have none or one.
constexpr size_t kMostListedClasses = 16;

// As Categories(), for the only one that lost a character since Unicode 14.
absl::StatusOr<std::string> NonspacingMarks() {
  static const auto* const members = new absl::StatusOr<std::string>(
      MatchingCharacters(StrCat("(?!\\x{1171e})[", Categories({"Mn"}), "]")));
  if (!members->ok()) return members->status();
  return StrCat("\\P{Any}", **members, "\\P{Any}");
}

class Translator {
 public:
  explicit Translator(std::string_view pattern) : pattern_(pattern) {}

  absl::StatusOr<std::string> Translate() {
    while (offset_ < pattern_.size()) {
      SHIRA_RETURN_IF_ERROR(classes_.empty() ? Item() : ClassItem());
    }
    if (!classes_.empty()) result_ += "[";  // not closed, which is for PCRE2 to say
    return std::move(result_);
  }

 private:
  // One of the sets that "&&" stands between: what all of its parts hold together.
  struct ClassOperand {
    std::string members;              // of a class of PCRE2, without brackets
    std::vector<std::string> others;  // expressions that match one character
  };
  // A class that is not closed yet.
  struct OpenClass {
    bool negated = false;
    std::vector<ClassOperand> operands = std::vector<ClassOperand>(1);
  };

  bool At(std::string_view text) const { return pattern_.substr(offset_).starts_with(text); }

  std::string& Output() {
    return classes_.empty() ? result_ : classes_.back().operands.back().members;
  }

  // One whole character is not needed: bytes of others than ASCII are copied as they are.
  void Copy(size_t bytes) {
    Output() += pattern_.substr(offset_, bytes);
    offset_ += bytes;
  }

  void Replace(size_t bytes, std::string_view replacement) {
    Output() += replacement;
    offset_ += bytes;
  }

  // Replaces by the characters that `members` holds, or by all others. PCRE2 cannot take such a
  // complement into a class.
  void ReplaceBySet(size_t bytes, const std::string& members, bool complement) {
    offset_ += bytes;
    if (classes_.empty()) {
      StrAppend(&result_, complement ? "[^" : "[", members, "]");
    } else if (complement) {
      classes_.back().operands.back().others.push_back(StrCat("[^", members, "]"));
    } else {
      Output() += members;
    }
  }

  absl::Status Unknown(std::string_view what) const {
    return absl::UnimplementedError(StrCat("regular expression '", pattern_, "', offset ", offset_,
                                           ": this program has no equal of ", what));
  }

  absl::Status Item() {
    if (At("{")) return Interval();
    if (At(")")) return EndOfGroup();
    if (IsCharacterStart(pattern_[offset_])) atom_ = result_.size();
    if (At("\\")) return Escape();
    if (At("[")) return BeginOfClass();
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

  absl::Status BeginOfClass() {
    const bool negated = At("[^");
    offset_ += negated ? 2 : 1;
    classes_.push_back({negated});
    if (At("]")) Replace(1, "\\]");  // a literal at the first place
    return absl::OkStatus();
  }

  absl::Status ClassItem() {
    if (At("\\")) return Escape();
    if (At("[:")) return Unknown("a POSIX bracket");
    if (At("[")) return BeginOfClass();
    if (At("]")) return EndOfClass();
    if (At("&&")) {
      classes_.back().operands.emplace_back();
      offset_ += 2;
    } else {
      Copy(1);
    }
    return absl::OkStatus();
  }

  absl::Status EndOfClass() {
    OpenClass closed = std::move(classes_.back());
    for (ClassOperand& operand : closed.operands) {
      if (operand.members.empty() && operand.others.empty()) {
        return Unknown("an intersection with nothing");
      }
      if (operand.members.starts_with("^")) operand.members.insert(0, "\\");
    }
    classes_.pop_back();
    ++offset_;
    const bool simple = closed.operands.size() == 1 && closed.operands[0].others.empty();
    std::string expression =
        simple ? StrCat(closed.negated ? "[^" : "[", closed.operands[0].members, "]")
               : ExpressionOf(closed);
    if (!classes_.empty()) {
      classes_.back().operands.back().others.push_back(std::move(expression));
    } else if (simple) {
      result_ += expression;
    } else {
      return AppendMatchingCharacters(expression);
    }
    return absl::OkStatus();
  }

  // What matches one character of a class, whatever it is made of.
  static std::string ExpressionOf(const OpenClass& closed) {
    std::vector<std::string> operands;
    for (const ClassOperand& operand : closed.operands) {
      std::string alternatives = operand.members.empty() ? "" : StrCat("[", operand.members, "]");
      for (const std::string& other : operand.others) {
        StrAppend(&alternatives, alternatives.empty() ? "" : "|", other);
      }
      operands.push_back(std::move(alternatives));
    }
    std::string all;
    for (size_t i = 0; i + 1 < operands.size(); ++i) StrAppend(&all, "(?=", operands[i], ")");
    StrAppend(&all, "(?:", operands.back(), ")");
    return closed.negated ? StrCat("(?:(?!", all, ")(?s:.))") : StrCat("(?:", all, ")");
  }

  // One class, however many characters there are to list: PCRE2 goes through a text with a repeated
  // class in constant memory, but needs some for each repetition of a choice between classes.
  absl::Status AppendMatchingCharacters(const std::string& expression) {
    const auto [listed, added] = listed_classes_.try_emplace(expression);
    if (added) {
      if (listed_classes_.size() > kMostListedClasses) {
        return Unknown(StrCat("more than ", kMostListedClasses,
                              " classes with complements, classes or intersections in them"));
      }
      SHIRA_ASSIGN_OR_RETURN(listed->second, MatchingCharacters(expression));
    }
    result_ += listed->second.empty() ? "(?!)" : StrCat("[", listed->second, "]");
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
      case 'W':
        ReplaceBySet(2, classes_.empty() ? Word() : WordOfClass(), letter == 'W');
        return absl::OkStatus();
      case 'd':
      case 'D':
        ReplaceBySet(2, Categories({"Nd"}), letter == 'D');
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
    if (classes_.empty()) {
      const std::string word = StrCat("[", Word(), "]");
      switch (letter) {
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
    bool complement = pattern_[offset_ + 1] == 'P';
    if (name.starts_with("^")) {
      complement = !complement;
      name.remove_prefix(1);
    }
    const size_t bytes = end + 1 - offset_;
    if (name == "Any" || name == "White_Space") {
      ReplaceBySet(bytes, StrCat("\\p{", name, "}"), complement);
    } else if (name == "C" || name == "Cn") {
      // What PCRE2 has as unassigned may be assigned by now.
      std::string assigned = Categories({"L", "M", "N", "P", "S", "Z"});
      if (name == "Cn") assigned += Categories({"Cc", "Cf", "Co", "Cs"});
      ReplaceBySet(bytes, assigned, !complement);
    } else if (name == "Mn") {
      SHIRA_ASSIGN_OR_RETURN(const std::string marks, NonspacingMarks());
      ReplaceBySet(bytes, marks, complement);
    } else if (name.size() <= 2) {
      ReplaceBySet(bytes, Categories({name}), complement);
    } else {
      // Anything longer than a category is a script.
      const std::string property = StrCat("\\p{sc:", name, "}");
      const std::string newer = NewerOfScript(name);
      ReplaceBySet(bytes, newer.empty() ? property : StrCat(property, newer, property), complement);
    }
    return absl::OkStatus();
  }

  const std::string_view pattern_;
  size_t offset_ = 0;
  std::vector<OpenClass> classes_;                     // the innermost last
  std::map<std::string, std::string> listed_classes_;  // an expression and what it matches
  std::string result_;
  size_t atom_ = 0;             // where in result_ the item that a quantifier would repeat begins
  std::vector<size_t> groups_;  // where the open groups begin
};

}  // namespace

absl::StatusOr<std::string> PcreFromOniguruma(std::string_view pattern) {
  return Translator(pattern).Translate();
}

}  // namespace shira
