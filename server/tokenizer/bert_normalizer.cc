#include "server/tokenizer/bert_normalizer.h"

#include <optional>
#include <string>
#include <utility>

#include "absl/functional/function_ref.h"
#include "base/status_macros.h"
#include "server/tokenizer/character_classes.h"
#include "server/tokenizer/json_fields.h"
#include "server/tokenizer/unicode_forms.h"
#include "server/tokenizer/utf8.h"

namespace shira {
namespace {

// Calls `rewrite` for each character; what it does not append is taken out.
void RewriteCharacters(TextPiece& piece,
                       absl::FunctionRef<void(char32_t character, std::string* result)> rewrite) {
  std::string result;
  result.reserve(piece.text.size());
  for (size_t offset = 0; offset < piece.text.size();) {
    const bool first = offset == 0;
    rewrite(NextCharacter(piece.text, &offset), &result);
    if (first && result.empty()) piece.at_start = false;
  }
  piece.text = std::move(result);
}

class BertNormalizer final : public Normalizer {
 public:
  struct Options {
    bool clean_text;
    bool handle_chinese_chars;
    bool strip_accents;
    bool lowercase;
  };

  BertNormalizer(Options options, std::unique_ptr<const Normalizer> nfd)
      : options_(options), nfd_(std::move(nfd)) {}

  absl::Status Normalize(TextPiece& piece) const override {
    if (options_.clean_text) {
      RewriteCharacters(piece, [](char32_t character, std::string* result) {
        const bool blank = character == '\t' || character == '\n' || character == '\r';
        if (character == 0xFFFD || (!blank && IsControlOfBert(character))) return;
        AppendUtf8(IsWhiteSpace(character) ? U' ' : character, result);
      });
    }
    if (options_.handle_chinese_chars) {
      RewriteCharacters(piece, [](char32_t character, std::string* result) {
        const bool ideograph = IsIdeographOfBert(character);
        if (ideograph) result->push_back(' ');
        AppendUtf8(character, result);
        if (ideograph) result->push_back(' ');
      });
    }
    if (options_.strip_accents) {
      SHIRA_RETURN_IF_ERROR(nfd_->Normalize(piece));
      RewriteCharacters(piece, [](char32_t character, std::string* result) {
        if (!IsAccentOfBert(character)) AppendUtf8(character, result);
      });
    }
    if (options_.lowercase) piece.text = ToLower(piece.text);
    return absl::OkStatus();
  }

 private:
  const Options options_;
  const std::unique_ptr<const Normalizer> nfd_;
};

class StripAccents final : public Normalizer {
 public:
  absl::Status Normalize(TextPiece& piece) const override {
    RewriteCharacters(piece, [](char32_t character, std::string* result) {
      if (!IsCombiningMark(character)) AppendUtf8(character, result);
    });
    return absl::OkStatus();
  }
};

bool IsTakenOutByNmt(char32_t c) {
  return (c >= 0x01 && c <= 0x08) || c == 0x0B || (c >= 0x0E && c <= 0x1F) || c == 0x7F ||
         c == 0x8F || c == 0x9F;
}

bool IsSpaceOfNmt(char32_t c) {
  return c == '\t' || c == '\n' || c == '\f' || c == '\r' || c == 0x1680 ||
         (c >= 0x200B && c <= 0x200F) || c == 0x2028 || c == 0x2029 || c == 0x2581 || c == 0xFEFF ||
         c == 0xFFFD;
}

class Nmt final : public Normalizer {
 public:
  absl::Status Normalize(TextPiece& piece) const override {
    RewriteCharacters(piece, [](char32_t character, std::string* result) {
      if (IsTakenOutByNmt(character)) return;
      AppendUtf8(IsSpaceOfNmt(character) ? U' ' : character, result);
    });
    return absl::OkStatus();
  }
};

}  // namespace

absl::StatusOr<std::unique_ptr<const Normalizer>> MakeBertNormalizer(const nlohmann::json& json,
                                                                     std::string_view where) {
  BertNormalizer::Options options{};
  SHIRA_ASSIGN_OR_RETURN(options.clean_text, JsonBool(json, "clean_text", where));
  SHIRA_ASSIGN_OR_RETURN(options.handle_chinese_chars,
                         JsonBool(json, "handle_chinese_chars", where));
  SHIRA_ASSIGN_OR_RETURN(options.lowercase, JsonBool(json, "lowercase", where));
  options.strip_accents = options.lowercase;
  if (json.contains("strip_accents") && !json["strip_accents"].is_null()) {
    SHIRA_ASSIGN_OR_RETURN(options.strip_accents, JsonBool(json, "strip_accents", where));
  }
  SHIRA_ASSIGN_OR_RETURN(auto nfd, MakeUnicodeForm("NFD"));
  return std::make_unique<BertNormalizer>(options, std::move(nfd));
}

std::unique_ptr<const Normalizer> MakeStripAccents() { return std::make_unique<StripAccents>(); }

std::unique_ptr<const Normalizer> MakeNmt() { return std::make_unique<Nmt>(); }

}  // namespace shira
