#include "server/tokenizer/normalizer.h"

#include <unicode/bytestream.h>
#include <unicode/normalizer2.h>
#include <unicode/uchar.h>
#include <unicode/uniset.h>

#include <utility>
#include <vector>

#include "base/status_macros.h"
#include "base/strings.h"
#include "server/tokenizer/json_fields.h"
#include "server/tokenizer/newer_characters.h"
#include "server/tokenizer/pattern.h"
#include "server/tokenizer/utf8.h"

namespace shira {
namespace {

// The characters that Hugging Face's normalization knows: it has the data of Unicode 11.0, and what
// it does not know stays as it is.
const icu::UnicodeSet& KnownCharacters() {
  static const icu::UnicodeSet* const known = [] {
    UErrorCode error = U_ZERO_ERROR;
    auto* set = new icu::UnicodeSet(u"[:Age=11.0:]", error);
    set->freeze();
    return set;
  }();
  return *known;
}

class UnicodeForm final : public Normalizer {
 public:
  // `form` is a singleton of ICU.
  explicit UnicodeForm(const icu::Normalizer2& form) : form_(form, KnownCharacters()) {}

  absl::StatusOr<std::string> Normalize(std::string text) const override {
    std::string result;
    icu::StringByteSink<std::string> sink(&result, static_cast<int32_t>(text.size()));
    UErrorCode error = U_ZERO_ERROR;
    form_.normalizeUTF8(0, text, sink, nullptr, error);
    if (U_FAILURE(error)) {
      return absl::InternalError(StrCat("Unicode normalization: ", u_errorName(error)));
    }
    return result;
  }

 private:
  const icu::FilteredNormalizer2 form_;
};

class Lowercase final : public Normalizer {
 public:
  absl::StatusOr<std::string> Normalize(std::string text) const override {
    std::string result;
    result.reserve(text.size());
    for (size_t offset = 0; offset < text.size();) {
      const char32_t character = NextCharacter(text, &offset);
      const auto lower = static_cast<char32_t>(u_tolower(static_cast<UChar32>(character)));
      AppendUtf8(NewerToLower(lower), &result);
      // The only character whose lower case is two: dotted capital I.
      if (character == 0x130) AppendUtf8(0x307, &result);
    }
    return result;
  }
};

class Prepend final : public Normalizer {
 public:
  explicit Prepend(std::string prefix) : prefix_(std::move(prefix)) {}

  absl::StatusOr<std::string> Normalize(std::string text) const override {
    return text.empty() ? text : prefix_ + text;
  }

 private:
  const std::string prefix_;
};

class Replace final : public Normalizer {
 public:
  Replace(Regex pattern, std::string content)
      : pattern_(std::move(pattern)), content_(std::move(content)) {}

  absl::StatusOr<std::string> Normalize(std::string text) const override {
    SHIRA_ASSIGN_OR_RETURN(const std::vector<TextRange> matches, pattern_.FindAll(text));
    std::string result;
    size_t done = 0;
    for (const TextRange& match : matches) {
      result.append(text, done, match.begin - done);
      result += content_;
      done = match.end;
    }
    result.append(text, done);
    return result;
  }

 private:
  const Regex pattern_;
  const std::string content_;
};

class Sequence final : public Normalizer {
 public:
  explicit Sequence(std::vector<std::unique_ptr<const Normalizer>> parts)
      : parts_(std::move(parts)) {}

  absl::StatusOr<std::string> Normalize(std::string text) const override {
    for (const auto& part : parts_) {
      SHIRA_ASSIGN_OR_RETURN(text, part->Normalize(std::move(text)));
    }
    return text;
  }

 private:
  const std::vector<std::unique_ptr<const Normalizer>> parts_;
};

absl::StatusOr<std::unique_ptr<const Normalizer>> MakeUnicodeForm(std::string_view type) {
  UErrorCode error = U_ZERO_ERROR;
  const icu::Normalizer2* form = type == "NFC"    ? icu::Normalizer2::getNFCInstance(error)
                                 : type == "NFD"  ? icu::Normalizer2::getNFDInstance(error)
                                 : type == "NFKC" ? icu::Normalizer2::getNFKCInstance(error)
                                                  : icu::Normalizer2::getNFKDInstance(error);
  if (U_FAILURE(error)) {
    return absl::InternalError(StrCat("ICU has no data for ", type, ": ", u_errorName(error)));
  }
  return std::make_unique<UnicodeForm>(*form);
}

absl::StatusOr<std::unique_ptr<const Normalizer>> MakeSequence(const nlohmann::json& json,
                                                               std::string_view where, int depth) {
  SHIRA_ASSIGN_OR_RETURN(const nlohmann::json* elements, JsonArray(json, "normalizers", where));
  std::vector<std::unique_ptr<const Normalizer>> parts;
  for (const nlohmann::json& element : *elements) {
    const std::string place = StrCat(where, ".normalizers[", parts.size(), "]");
    SHIRA_ASSIGN_OR_RETURN(auto part, Normalizer::FromJson(element, place, depth + 1));
    parts.push_back(std::move(part));
  }
  return std::make_unique<Sequence>(std::move(parts));
}

}  // namespace

absl::StatusOr<std::unique_ptr<const Normalizer>> Normalizer::FromJson(const nlohmann::json& json,
                                                                       std::string_view where,
                                                                       int depth) {
  if (json.is_null()) {
    return std::make_unique<Sequence>(std::vector<std::unique_ptr<const Normalizer>>());
  }
  SHIRA_ASSIGN_OR_RETURN(const std::string type, ComponentType(json, where, depth));
  if (type == "NFC" || type == "NFD" || type == "NFKC" || type == "NFKD") {
    return MakeUnicodeForm(type);
  }
  if (type == "Lowercase") return std::make_unique<Lowercase>();
  if (type == "Prepend") {
    SHIRA_ASSIGN_OR_RETURN(std::string prefix, JsonString(json, "prepend", where));
    return std::make_unique<Prepend>(std::move(prefix));
  }
  if (type == "Replace") {
    SHIRA_ASSIGN_OR_RETURN(Regex pattern, PatternFromJson(json, where));
    SHIRA_ASSIGN_OR_RETURN(std::string content, JsonString(json, "content", where));
    return std::make_unique<Replace>(std::move(pattern), std::move(content));
  }
  if (type == "Sequence") return MakeSequence(json, where, depth);
  return UnknownComponent(where, type,
                          "NFC, NFD, NFKC, NFKD, Lowercase, Prepend, Replace and Sequence");
}

}  // namespace shira
