#include "server/tokenizer/unicode_forms.h"

#include <unicode/bytestream.h>
#include <unicode/normalizer2.h>
#include <unicode/uchar.h>
#include <unicode/uniset.h>

#include <utility>

#include "base/strings.h"
#include "server/tokenizer/newer_characters.h"
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

  absl::Status Normalize(TextPiece& piece) const override {
    std::string result;
    icu::StringByteSink<std::string> sink(&result, static_cast<int32_t>(piece.text.size()));
    UErrorCode error = U_ZERO_ERROR;
    form_.normalizeUTF8(0, piece.text, sink, nullptr, error);
    if (U_FAILURE(error)) {
      return absl::InternalError(StrCat("Unicode normalization: ", u_errorName(error)));
    }
    piece.text = std::move(result);
    return absl::OkStatus();
  }

 private:
  const icu::FilteredNormalizer2 form_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<const Normalizer>> MakeUnicodeForm(std::string_view form) {
  UErrorCode error = U_ZERO_ERROR;
  const icu::Normalizer2* instance = form == "NFC"    ? icu::Normalizer2::getNFCInstance(error)
                                     : form == "NFD"  ? icu::Normalizer2::getNFDInstance(error)
                                     : form == "NFKC" ? icu::Normalizer2::getNFKCInstance(error)
                                                      : icu::Normalizer2::getNFKDInstance(error);
  if (U_FAILURE(error)) {
    return absl::InternalError(StrCat("ICU has no data for ", form, ": ", u_errorName(error)));
  }
  return std::make_unique<UnicodeForm>(*instance);
}

std::string ToLower(std::string_view text) {
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

}  // namespace shira
