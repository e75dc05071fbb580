#include "server/tokenizer/newer_characters.h"

#include <algorithm>
#include <cstdint>

#include "absl/strings/ascii.h"
#include "absl/strings/str_format.h"

namespace shira {
namespace {

// The table is in order: the range that may hold a character is the last that does not begin
// behind it.
const NewerCharacters* RangeOf(char32_t character) {
  const absl::Span<const NewerCharacters> table = NewerCharacterTable();
  const auto after = std::upper_bound(
      table.begin(), table.end(), character,
      [](char32_t value, const NewerCharacters& range) { return value < range.first; });
  if (after == table.begin() || (after - 1)->last < character) return nullptr;
  return &*(after - 1);
}

template <typename Wanted>
std::string RangesWhere(Wanted wanted) {
  std::string ranges;
  for (const NewerCharacters& range : NewerCharacterTable()) {
    if (!wanted(range)) continue;
    absl::StrAppendFormat(&ranges, "\\x{%x}", static_cast<uint32_t>(range.first));
    if (range.last > range.first) {
      absl::StrAppendFormat(&ranges, "-\\x{%x}", static_cast<uint32_t>(range.last));
    }
  }
  return ranges;
}

}  // namespace

std::string NewerOfCategory(std::string_view category, int unicode) {
  return RangesWhere([&](const NewerCharacters& range) {
    return range.unicode <= unicode && range.category.starts_with(category);
  });
}

std::string NewerOfScript(std::string_view script) {
  std::string name;
  for (const char c : script) {
    if (absl::ascii_isalnum(static_cast<unsigned char>(c))) {
      name.push_back(absl::ascii_toupper(static_cast<unsigned char>(c)));
    }
  }
  return RangesWhere([&](const NewerCharacters& range) { return range.script == name; });
}

bool IsNewer(char32_t character, absl::Span<const std::string_view> categories) {
  const NewerCharacters* range = RangeOf(character);
  return range != nullptr && range->unicode <= 16 &&
         std::any_of(categories.begin(), categories.end(), [range](std::string_view category) {
           return range->category.starts_with(category);
         });
}

char32_t NewerToLower(char32_t character) {
  const absl::Span<const NewerLowercase> table = NewerLowercaseTable();
  const auto found = std::lower_bound(
      table.begin(), table.end(), character,
      [](const NewerLowercase& pair, char32_t value) { return pair.capital < value; });
  return found != table.end() && found->capital == character ? found->small : character;
}

}  // namespace shira
