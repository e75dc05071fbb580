#include "server/tokenizer/pre_tokenizer.h"

#include <unicode/uniset.h>

#include <algorithm>
#include <cstdint>
#include <utility>

#include "absl/strings/str_format.h"
#include "base/status_macros.h"
#include "base/strings.h"
#include "server/tokenizer/byte_level.h"
#include "server/tokenizer/character_classes.h"
#include "server/tokenizer/json_fields.h"
#include "server/tokenizer/metaspace.h"
#include "server/tokenizer/newer_characters.h"
#include "server/tokenizer/pattern.h"
#include "server/tokenizer/utf8.h"

namespace shira {
namespace {

// GPT-2's rule, which ByteLevel applies when use_regex.
constexpr std::string_view kByteLevelPattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

// Punctuation as Hugging Face's component has it: ASCII's, which holds symbols too, and what was of
// category P in Unicode 8.0. Two characters have changed their category since.
std::string PunctuationPattern() {
  UErrorCode error = U_ZERO_ERROR;
  icu::UnicodeSet set(u"[[[:P:]&[:Age=8.0:]]\\u166D\\U000111C9]", error);
  std::string pattern = "[$+<=>^`|~";
  for (int32_t range = 0; range < set.getRangeCount(); ++range) {
    const auto first = static_cast<uint32_t>(set.getRangeStart(range));
    const auto last = static_cast<uint32_t>(set.getRangeEnd(range));
    absl::StrAppendFormat(&pattern, "\\x{%x}-\\x{%x}", first, last);
  }
  return pattern + "]";
}

TextPiece PartOf(const TextPiece& piece, size_t begin, size_t end) {
  return {piece.text.substr(begin, end - begin), piece.at_start && begin == 0};
}

struct Part {
  TextRange range;
  bool match;
};

// Matches and what lies between them, in order: the whole text.
std::vector<Part> PartsOf(std::string_view text, const std::vector<TextRange>& matches,
                          bool invert) {
  std::vector<Part> parts;
  size_t done = 0;
  for (const TextRange& match : matches) {
    if (done != match.begin) parts.push_back({{done, match.begin}, invert});
    parts.push_back({match, !invert});
    done = match.end;
  }
  if (done != text.size()) parts.push_back({{done, text.size()}, invert});
  return parts;
}

// Whether `part` belongs to the piece of the part before it.
bool JoinsPrevious(const std::vector<Part>& parts, size_t part, SplitBehavior behavior) {
  if (part == 0) return false;
  const bool match = parts[part].match;
  const bool previous_match = parts[part - 1].match;
  switch (behavior) {
    case SplitBehavior::kContiguous:
      return match == previous_match;
    case SplitBehavior::kMergedWithPrevious:
      return match && !previous_match;
    case SplitBehavior::kMergedWithNext:
      return previous_match && !match;
    case SplitBehavior::kRemoved:
    case SplitBehavior::kIsolated:
      return false;
  }
  return false;
}

class SplitPreTokenizer final : public PreTokenizer {
 public:
  SplitPreTokenizer(Regex pattern, SplitBehavior behavior, bool invert)
      : pattern_(std::move(pattern)), behavior_(behavior), invert_(invert) {}

  absl::Status Apply(std::vector<TextPiece>& pieces) const override {
    std::vector<TextPiece> result;
    for (TextPiece& piece : pieces) {
      SHIRA_ASSIGN_OR_RETURN(const std::vector<TextRange> matches, pattern_.FindAll(piece.text));
      const std::vector<Part> parts = PartsOf(piece.text, matches, invert_);
      if (parts.size() == 1 && !(behavior_ == SplitBehavior::kRemoved && parts[0].match)) {
        result.push_back(std::move(piece));
        continue;
      }
      Cut(piece, parts, result);
    }
    pieces = std::move(result);
    return absl::OkStatus();
  }

 private:
  void Cut(const TextPiece& piece, const std::vector<Part>& parts,
           std::vector<TextPiece>& result) const {
    for (size_t first = 0; first < parts.size();) {
      size_t end = first + 1;
      while (end < parts.size() && JoinsPrevious(parts, end, behavior_)) ++end;
      const TextRange whole{parts[first].range.begin, parts[end - 1].range.end};
      const bool removed = behavior_ == SplitBehavior::kRemoved && parts[first].match;
      if (!removed && whole.begin != whole.end) {
        result.push_back(PartOf(piece, whole.begin, whole.end));
      }
      first = end;
    }
  }

  const Regex pattern_;
  const SplitBehavior behavior_;
  const bool invert_;
};

class ByteLevelPreTokenizer final : public PreTokenizer {
 public:
  // `rule` is what cuts before the change of alphabet; null for nothing.
  ByteLevelPreTokenizer(bool add_prefix_space, std::unique_ptr<const PreTokenizer> rule)
      : add_prefix_space_(add_prefix_space), rule_(std::move(rule)) {}

  absl::Status Apply(std::vector<TextPiece>& pieces) const override {
    if (add_prefix_space_) {
      for (TextPiece& piece : pieces) {
        if (!piece.text.starts_with(' ')) piece.text.insert(0, 1, ' ');
      }
    }
    if (rule_ != nullptr) SHIRA_RETURN_IF_ERROR(rule_->Apply(pieces));
    for (TextPiece& piece : pieces) piece.text = BytesToByteLevel(piece.text);
    return absl::OkStatus();
  }

 private:
  const bool add_prefix_space_;
  const std::unique_ptr<const PreTokenizer> rule_;
};

class MetaspacePreTokenizer final : public PreTokenizer {
 public:
  explicit MetaspacePreTokenizer(const Metaspace& metaspace)
      : prepend_(metaspace.prepend), split_(metaspace.split) {
    AppendUtf8(metaspace.replacement, &replacement_);
  }

  absl::Status Apply(std::vector<TextPiece>& pieces) const override {
    std::vector<TextPiece> result;
    for (TextPiece& piece : pieces) {
      std::string text;
      text.reserve(piece.text.size() + replacement_.size());
      if (Prepends(piece)) text = replacement_;
      for (const char byte : piece.text) {
        if (byte == ' ') {
          text += replacement_;
        } else {
          text.push_back(byte);
        }
      }
      piece.text = std::move(text);
      if (split_) {
        CutAtReplacements(piece, result);
      } else {
        result.push_back(std::move(piece));
      }
    }
    pieces = std::move(result);
    return absl::OkStatus();
  }

 private:
  bool Prepends(const TextPiece& piece) const {
    if (piece.text.starts_with(' ') || piece.text.starts_with(replacement_)) return false;
    return prepend_ == Metaspace::Prepend::kAlways ||
           (prepend_ == Metaspace::Prepend::kFirst && piece.at_start);
  }

  void CutAtReplacements(const TextPiece& piece, std::vector<TextPiece>& result) const {
    for (size_t begin = 0; begin < piece.text.size();) {
      // Of several in a row each is a piece of its own, the last with what follows.
      const size_t next = piece.text.find(replacement_, begin + 1);
      const size_t end = std::min(next, piece.text.size());
      result.push_back(PartOf(piece, begin, end));
      begin = end;
    }
  }

  std::string replacement_;
  const Metaspace::Prepend prepend_;
  const bool split_;
};

// Runs of word characters, and runs of what is neither a word character nor white space.
class WhitespacePreTokenizer final : public PreTokenizer {
 public:
  absl::Status Apply(std::vector<TextPiece>& pieces) const override {
    std::vector<TextPiece> result;
    for (const TextPiece& piece : pieces) {
      size_t begin = 0;
      Kind kind = Kind::kSpace;
      for (size_t offset = 0, next = 0; offset < piece.text.size(); offset = next) {
        const Kind before = std::exchange(kind, KindOf(NextCharacter(piece.text, &next)));
        if (kind == before) continue;
        if (before != Kind::kSpace) result.push_back(PartOf(piece, begin, offset));
        begin = offset;
      }
      if (kind != Kind::kSpace) result.push_back(PartOf(piece, begin, piece.text.size()));
    }
    pieces = std::move(result);
    return absl::OkStatus();
  }

 private:
  enum class Kind { kSpace, kWord, kOther };

  static Kind KindOf(char32_t character) {
    if (IsWordCharacter(character)) return Kind::kWord;
    return IsWhiteSpace(character) ? Kind::kSpace : Kind::kOther;
  }
};

class FixedLengthPreTokenizer final : public PreTokenizer {
 public:
  // In characters, not 0.
  explicit FixedLengthPreTokenizer(uint64_t length) : length_(length) {}

  absl::Status Apply(std::vector<TextPiece>& pieces) const override {
    std::vector<TextPiece> result;
    for (const TextPiece& piece : pieces) {
      for (size_t begin = 0, end = 0; begin < piece.text.size(); begin = end) {
        for (uint64_t i = 0; i < length_ && end < piece.text.size(); ++i) {
          NextCharacter(piece.text, &end);
        }
        result.push_back(PartOf(piece, begin, end));
      }
    }
    pieces = std::move(result);
    return absl::OkStatus();
  }

 private:
  const uint64_t length_;
};

class SequencePreTokenizer final : public PreTokenizer {
 public:
  explicit SequencePreTokenizer(std::vector<std::unique_ptr<const PreTokenizer>> parts)
      : parts_(std::move(parts)) {}

  absl::Status Apply(std::vector<TextPiece>& pieces) const override {
    for (const auto& part : parts_) SHIRA_RETURN_IF_ERROR(part->Apply(pieces));
    return absl::OkStatus();
  }

 private:
  const std::vector<std::unique_ptr<const PreTokenizer>> parts_;
};

absl::StatusOr<SplitBehavior> BehaviorFromJson(const nlohmann::json& json, std::string_view where) {
  SHIRA_ASSIGN_OR_RETURN(const std::string name, JsonString(json, "behavior", where));
  constexpr std::pair<std::string_view, SplitBehavior> kBehaviors[] = {
      {"Removed", SplitBehavior::kRemoved},
      {"Isolated", SplitBehavior::kIsolated},
      {"MergedWithPrevious", SplitBehavior::kMergedWithPrevious},
      {"MergedWithNext", SplitBehavior::kMergedWithNext},
      {"Contiguous", SplitBehavior::kContiguous},
  };
  for (const auto& [known, behavior] : kBehaviors) {
    if (name == known) return behavior;
  }
  return absl::InvalidArgumentError(
      StrCat(where, ".behavior is '", name,
             "', expected Removed, Isolated, MergedWithPrevious, MergedWithNext or Contiguous"));
}

absl::StatusOr<std::unique_ptr<const PreTokenizer>> MakeSplit(const nlohmann::json& json,
                                                              std::string_view where) {
  SHIRA_ASSIGN_OR_RETURN(Regex pattern, PatternFromJson(json, where));
  SHIRA_ASSIGN_OR_RETURN(const SplitBehavior behavior, BehaviorFromJson(json, where));
  SHIRA_ASSIGN_OR_RETURN(const bool invert, JsonBool(json, "invert", where));
  return PreTokenizer::Split(std::move(pattern), behavior, invert);
}

absl::StatusOr<std::unique_ptr<const PreTokenizer>> MakeByteLevel(const nlohmann::json& json,
                                                                  std::string_view where) {
  SHIRA_ASSIGN_OR_RETURN(const bool add_prefix_space, JsonBool(json, "add_prefix_space", where));
  SHIRA_ASSIGN_OR_RETURN(const bool use_regex, JsonBool(json, "use_regex", where, true));
  std::unique_ptr<const PreTokenizer> rule;
  if (use_regex) {
    SHIRA_ASSIGN_OR_RETURN(Regex pattern, Regex::Compile(kByteLevelPattern));
    rule = PreTokenizer::Split(std::move(pattern), SplitBehavior::kIsolated, /*invert=*/false);
  }
  return std::make_unique<ByteLevelPreTokenizer>(add_prefix_space, std::move(rule));
}

absl::StatusOr<std::unique_ptr<const PreTokenizer>> MakeDigits(const nlohmann::json& json,
                                                               std::string_view where) {
  SHIRA_ASSIGN_OR_RETURN(const bool individual, JsonBool(json, "individual_digits", where));
  // Not a regular expression there, so it has another version of Unicode.
  SHIRA_ASSIGN_OR_RETURN(
      Regex digit, Regex::Compile(StrCat("[\\p{N}", NewerOfCategory("N", /*unicode=*/17), "]")));
  return PreTokenizer::Split(std::move(digit),
                             individual ? SplitBehavior::kIsolated : SplitBehavior::kContiguous,
                             /*invert=*/false);
}

absl::StatusOr<std::unique_ptr<const PreTokenizer>> MakePunctuation(const nlohmann::json& json,
                                                                    std::string_view where) {
  SplitBehavior behavior = SplitBehavior::kIsolated;
  if (json.contains("behavior")) {
    SHIRA_ASSIGN_OR_RETURN(behavior, BehaviorFromJson(json, where));
  }
  SHIRA_ASSIGN_OR_RETURN(Regex mark, Regex::Compile(PunctuationPattern()));
  return PreTokenizer::Split(std::move(mark), behavior, /*invert=*/false);
}

absl::StatusOr<std::unique_ptr<const PreTokenizer>> MakeWhitespaceSplit() {
  SHIRA_ASSIGN_OR_RETURN(Regex space, Regex::Compile("\\s"));
  return PreTokenizer::Split(std::move(space), SplitBehavior::kRemoved, /*invert=*/false);
}

absl::StatusOr<std::unique_ptr<const PreTokenizer>> MakeBert() {
  std::vector<std::unique_ptr<const PreTokenizer>> parts;
  SHIRA_ASSIGN_OR_RETURN(auto words, MakeWhitespaceSplit());
  parts.push_back(std::move(words));
  SHIRA_ASSIGN_OR_RETURN(Regex mark, Regex::Compile(PunctuationPattern()));
  parts.push_back(PreTokenizer::Split(std::move(mark), SplitBehavior::kIsolated, /*invert=*/false));
  return PreTokenizer::Sequence(std::move(parts));
}

absl::StatusOr<std::unique_ptr<const PreTokenizer>> MakeCharDelimiterSplit(
    const nlohmann::json& json, std::string_view where) {
  SHIRA_ASSIGN_OR_RETURN(const char32_t character, JsonCharacter(json, "delimiter", where));
  std::string text;
  AppendUtf8(character, &text);
  SHIRA_ASSIGN_OR_RETURN(Regex delimiter, Regex::Literal(text));
  return PreTokenizer::Split(std::move(delimiter), SplitBehavior::kRemoved, /*invert=*/false);
}

absl::StatusOr<std::unique_ptr<const PreTokenizer>> MakeFixedLength(const nlohmann::json& json,
                                                                    std::string_view where) {
  uint64_t length = 5;
  if (json.contains("length")) {
    SHIRA_ASSIGN_OR_RETURN(length, JsonCount(json, "length", where));
  }
  if (length == 0) return absl::InvalidArgumentError(StrCat(where, ".length is 0"));
  return std::make_unique<FixedLengthPreTokenizer>(length);
}

absl::StatusOr<std::unique_ptr<const PreTokenizer>> MakePreTokenizerSequence(
    const nlohmann::json& json, std::string_view where, int depth) {
  SHIRA_ASSIGN_OR_RETURN(const nlohmann::json* elements, JsonArray(json, "pretokenizers", where));
  std::vector<std::unique_ptr<const PreTokenizer>> parts;
  for (const nlohmann::json& element : *elements) {
    const std::string place = StrCat(where, ".pretokenizers[", parts.size(), "]");
    SHIRA_ASSIGN_OR_RETURN(auto part, PreTokenizer::FromJson(element, place, depth + 1));
    parts.push_back(std::move(part));
  }
  return PreTokenizer::Sequence(std::move(parts));
}

}  // namespace

absl::StatusOr<std::unique_ptr<const PreTokenizer>> PreTokenizer::FromJson(
    const nlohmann::json& json, std::string_view where, int depth) {
  if (json.is_null()) return Sequence({});
  SHIRA_ASSIGN_OR_RETURN(const std::string type, ComponentType(json, where, depth));
  if (type == "Split") return MakeSplit(json, where);
  if (type == "ByteLevel") return MakeByteLevel(json, where);
  if (type == "Digits") return MakeDigits(json, where);
  if (type == "Punctuation") return MakePunctuation(json, where);
  if (type == "Metaspace") {
    SHIRA_ASSIGN_OR_RETURN(const Metaspace metaspace, Metaspace::FromJson(json, where));
    return std::make_unique<MetaspacePreTokenizer>(metaspace);
  }
  if (type == "Whitespace") return std::make_unique<WhitespacePreTokenizer>();
  if (type == "WhitespaceSplit") return MakeWhitespaceSplit();
  if (type == "BertPreTokenizer") return MakeBert();
  if (type == "CharDelimiterSplit") return MakeCharDelimiterSplit(json, where);
  if (type == "FixedLength") return MakeFixedLength(json, where);
  if (type == "Sequence") return MakePreTokenizerSequence(json, where, depth);
  return UnknownComponent(where, type,
                          "Split, ByteLevel, Metaspace, Digits, Punctuation, Whitespace, "
                          "WhitespaceSplit, BertPreTokenizer, CharDelimiterSplit, FixedLength and "
                          "Sequence");
}

std::unique_ptr<const PreTokenizer> PreTokenizer::Split(Regex pattern, SplitBehavior behavior,
                                                        bool invert) {
  return std::make_unique<SplitPreTokenizer>(std::move(pattern), behavior, invert);
}

std::unique_ptr<const PreTokenizer> PreTokenizer::ByteLevelAlphabet() {
  return std::make_unique<ByteLevelPreTokenizer>(/*add_prefix_space=*/false, /*rule=*/nullptr);
}

std::unique_ptr<const PreTokenizer> PreTokenizer::Sequence(
    std::vector<std::unique_ptr<const PreTokenizer>> parts) {
  return std::make_unique<SequencePreTokenizer>(std::move(parts));
}

}  // namespace shira
