#include "server/tokenizer/matching_characters.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <cstdint>
#include <memory>

#include "absl/strings/str_format.h"
#include "base/strings.h"
#include "server/tokenizer/utf8.h"

namespace shira {
namespace {

constexpr uint32_t kCharacters = 0x110000;
constexpr uint32_t kFirstSurrogate = 0xD800;
constexpr uint32_t kLastSurrogate = 0xDFFF;

struct CodeDeleter {
  void operator()(pcre2_code* code) const { pcre2_code_free(code); }
};
struct MatchDataDeleter {
  void operator()(pcre2_match_data* data) const { pcre2_match_data_free(data); }
};

void AppendRange(uint32_t first, uint32_t last, std::string* members) {
  absl::StrAppendFormat(members, "\\x{%x}", first);
  if (last > first) absl::StrAppendFormat(members, "-\\x{%x}", last);
}

}  // namespace

absl::StatusOr<std::string> MatchingCharacters(const std::string& expression) {
  int error = 0;
  PCRE2_SIZE error_offset = 0;
  const std::unique_ptr<pcre2_code, CodeDeleter> code(
      pcre2_compile(reinterpret_cast<PCRE2_SPTR>(expression.data()), expression.size(),
                    PCRE2_UTF | PCRE2_UCP | PCRE2_ANCHORED | PCRE2_NEVER_BACKSLASH_C, &error,
                    &error_offset, nullptr));
  if (code == nullptr) {
    PCRE2_UCHAR message[256];
    pcre2_get_error_message(error, message, sizeof message);
    return absl::InvalidArgumentError(StrCat(reinterpret_cast<const char*>(message), " at offset ",
                                             error_offset, " of '", expression, "'"));
  }
  // Where this fails (no executable memory), PCRE2 interprets.
  pcre2_jit_compile(code.get(), PCRE2_JIT_COMPLETE);
  const std::unique_ptr<pcre2_match_data, MatchDataDeleter> match(
      pcre2_match_data_create_from_pattern(code.get(), nullptr));
  const auto matches = [&](uint32_t character) {
    std::string text;
    AppendUtf8(character, &text);
    return pcre2_match(code.get(), reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), 0,
                       PCRE2_NO_UTF_CHECK, match.get(), nullptr) >= 0;
  };

  std::string members;
  bool inside = false;
  uint32_t first = 0;
  for (uint32_t character = 0; character <= kCharacters; ++character) {
    // Surrogates are no characters: a range ends before them.
    if (character == kFirstSurrogate && inside) {
      AppendRange(first, character - 1, &members);
      inside = false;
    }
    if (character == kFirstSurrogate) character = kLastSurrogate + 1;
    const bool matching = character < kCharacters && matches(character);
    if (matching && !inside) first = character;
    if (!matching && inside) AppendRange(first, character - 1, &members);
    inside = matching;
  }
  return members;
}

}  // namespace shira
