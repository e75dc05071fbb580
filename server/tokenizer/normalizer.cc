#include "server/tokenizer/normalizer.h"

#include <utility>

#include "base/status_macros.h"
#include "base/strings.h"
#include "server/tokenizer/bert_normalizer.h"
#include "server/tokenizer/byte_level.h"
#include "server/tokenizer/character_classes.h"
#include "server/tokenizer/json_fields.h"
#include "server/tokenizer/pattern.h"
#include "server/tokenizer/precompiled_normalizer.h"
#include "server/tokenizer/unicode_forms.h"
#include "server/tokenizer/utf8.h"

namespace shira {
namespace {

class LowercaseNormalizer final : public Normalizer {
 public:
  absl::Status Normalize(TextPiece& piece) const override {
    piece.text = ToLower(piece.text);
    return absl::OkStatus();
  }
};

class PrependNormalizer final : public Normalizer {
 public:
  explicit PrependNormalizer(std::string prefix) : prefix_(std::move(prefix)) {}

  absl::Status Normalize(TextPiece& piece) const override {
    if (!piece.text.empty()) piece.text.insert(0, prefix_);
    return absl::OkStatus();
  }

 private:
  const std::string prefix_;
};

class ReplaceNormalizer final : public Normalizer {
 public:
  ReplaceNormalizer(Regex pattern, std::string content)
      : pattern_(std::move(pattern)), content_(std::move(content)) {}

  absl::Status Normalize(TextPiece& piece) const override {
    if (piece.text.empty()) return absl::OkStatus();
    SHIRA_ASSIGN_OR_RETURN(const std::vector<TextRange> matches, pattern_.FindAll(piece.text));
    std::string result;
    size_t done = 0;
    for (const TextRange& match : matches) {
      result.append(piece.text, done, match.begin - done);
      result += content_;
      done = match.end;
    }
    result.append(piece.text, done);
    // The new text stands for the last character that it takes the place of.
    if (!matches.empty() && matches[0].begin == 0 && matches[0].end > 0) {
      size_t first = 0;
      NextCharacter(piece.text, &first);
      if (matches[0].end > first || content_.empty()) piece.at_start = false;
    }
    piece.text = std::move(result);
    return absl::OkStatus();
  }

 private:
  const Regex pattern_;
  const std::string content_;
};

class ReplaceSpacesNormalizer final : public Normalizer {
 public:
  explicit ReplaceSpacesNormalizer(std::string content) : content_(std::move(content)) {}

  absl::Status Normalize(TextPiece& piece) const override {
    std::string result;
    result.reserve(piece.text.size());
    for (const char byte : piece.text) {
      if (byte == ' ') {
        result += content_;
      } else {
        result.push_back(byte);
      }
    }
    piece.text = std::move(result);
    return absl::OkStatus();
  }

 private:
  const std::string content_;
};

class StripNormalizer final : public Normalizer {
 public:
  StripNormalizer(bool left, bool right) : left_(left), right_(right) {}

  absl::Status Normalize(TextPiece& piece) const override {
    size_t begin = 0;
    for (size_t next = 0; left_ && next < piece.text.size(); begin = next) {
      if (!IsWhiteSpace(NextCharacter(piece.text, &next))) break;
    }
    size_t end = piece.text.size();
    while (right_ && end > begin && IsWhiteSpace(PreviousCharacter(piece.text, end))) {
      do {
        --end;
      } while (!IsCharacterStart(piece.text[end]));
    }
    if (begin > 0) piece.at_start = false;
    piece.text = piece.text.substr(begin, end - begin);
    return absl::OkStatus();
  }

 private:
  const bool left_;
  const bool right_;
};

class ByteLevelNormalizer final : public Normalizer {
 public:
  absl::Status Normalize(TextPiece& piece) const override {
    piece.text = BytesToByteLevel(piece.text);
    return absl::OkStatus();
  }
};

class SequenceNormalizer final : public Normalizer {
 public:
  explicit SequenceNormalizer(std::vector<std::unique_ptr<const Normalizer>> parts)
      : parts_(std::move(parts)) {}

  absl::Status Normalize(TextPiece& piece) const override {
    for (const auto& part : parts_) SHIRA_RETURN_IF_ERROR(part->Normalize(piece));
    return absl::OkStatus();
  }

 private:
  const std::vector<std::unique_ptr<const Normalizer>> parts_;
};

absl::StatusOr<std::unique_ptr<const Normalizer>> MakeReplace(const nlohmann::json& json,
                                                              std::string_view where) {
  SHIRA_ASSIGN_OR_RETURN(std::string content, JsonString(json, "content", where));
  SHIRA_ASSIGN_OR_RETURN(const std::string literal, LiteralOfPattern(json, where));
  if (literal == " ") return Normalizer::ReplaceSpaces(std::move(content));
  SHIRA_ASSIGN_OR_RETURN(Regex pattern, PatternFromJson(json, where));
  return std::make_unique<ReplaceNormalizer>(std::move(pattern), std::move(content));
}

absl::StatusOr<std::unique_ptr<const Normalizer>> MakeStrip(const nlohmann::json& json,
                                                            std::string_view where) {
  SHIRA_ASSIGN_OR_RETURN(const bool left, JsonBool(json, "strip_left", where));
  SHIRA_ASSIGN_OR_RETURN(const bool right, JsonBool(json, "strip_right", where));
  return std::make_unique<StripNormalizer>(left, right);
}

absl::StatusOr<std::unique_ptr<const Normalizer>> MakeNormalizerSequence(const nlohmann::json& json,
                                                                         std::string_view where,
                                                                         int depth) {
  SHIRA_ASSIGN_OR_RETURN(const nlohmann::json* elements, JsonArray(json, "normalizers", where));
  std::vector<std::unique_ptr<const Normalizer>> parts;
  for (const nlohmann::json& element : *elements) {
    const std::string place = StrCat(where, ".normalizers[", parts.size(), "]");
    SHIRA_ASSIGN_OR_RETURN(auto part, Normalizer::FromJson(element, place, depth + 1));
    parts.push_back(std::move(part));
  }
  return Normalizer::Sequence(std::move(parts));
}

}  // namespace

absl::StatusOr<std::unique_ptr<const Normalizer>> Normalizer::FromJson(const nlohmann::json& json,
                                                                       std::string_view where,
                                                                       int depth) {
  if (json.is_null()) return Sequence({});
  SHIRA_ASSIGN_OR_RETURN(const std::string type, ComponentType(json, where, depth));
  if (type == "NFC" || type == "NFD" || type == "NFKC" || type == "NFKD") {
    return MakeUnicodeForm(type);
  }
  if (type == "Lowercase") return std::make_unique<LowercaseNormalizer>();
  if (type == "Prepend") {
    SHIRA_ASSIGN_OR_RETURN(std::string prefix, JsonString(json, "prepend", where));
    return Prepend(std::move(prefix));
  }
  if (type == "Replace") return MakeReplace(json, where);
  if (type == "Strip") return MakeStrip(json, where);
  if (type == "StripAccents") return MakeStripAccents();
  if (type == "BertNormalizer") return MakeBertNormalizer(json, where);
  if (type == "Nmt") return MakeNmt();
  if (type == "ByteLevel") return std::make_unique<ByteLevelNormalizer>();
  if (type == "Precompiled") return MakePrecompiledNormalizer(json, where);
  if (type == "Sequence") return MakeNormalizerSequence(json, where, depth);
  return UnknownComponent(where, type,
                          "NFC, NFD, NFKC, NFKD, Lowercase, Prepend, Replace, Strip, StripAccents, "
                          "BertNormalizer, Nmt, ByteLevel, Precompiled and Sequence");
}

std::unique_ptr<const Normalizer> Normalizer::Prepend(std::string prefix) {
  return std::make_unique<PrependNormalizer>(std::move(prefix));
}

std::unique_ptr<const Normalizer> Normalizer::ReplaceSpaces(std::string content) {
  return std::make_unique<ReplaceSpacesNormalizer>(std::move(content));
}

std::unique_ptr<const Normalizer> Normalizer::Sequence(
    std::vector<std::unique_ptr<const Normalizer>> parts) {
  return std::make_unique<SequenceNormalizer>(std::move(parts));
}

}  // namespace shira
