#include "server/tokenizer/vocabulary.h"

#include <charconv>
#include <utility>

#include "absl/strings/str_format.h"
#include "base/excerpt.h"
#include "base/status_macros.h"
#include "base/strings.h"
#include "server/tokenizer/json_fields.h"

namespace shira {

absl::StatusOr<Vocabulary> Vocabulary::FromJson(const nlohmann::json& json,
                                                std::string_view where) {
  if (!json.is_object()) return absl::InvalidArgumentError(StrCat(where, " is no object"));
  Vocabulary result;
  result.ids_.reserve(json.size());
  result.texts_.reserve(json.size());
  for (const auto& [text, value] : json.items()) {
    SHIRA_ASSIGN_OR_RETURN(const int32_t id, JsonTokenId(value, StrCat(where, "['", text, "']")));
    result.Add(text, id);
  }
  return result;
}

absl::StatusOr<Vocabulary> Vocabulary::FromTexts(const std::vector<std::string>& texts) {
  Vocabulary result;
  result.ids_.reserve(texts.size());
  result.texts_.resize(texts.size());
  for (size_t id = 0; id < texts.size(); ++id) {
    if (texts[id].empty()) continue;
    if (const std::optional<int32_t> before = result.Id(texts[id]); before.has_value()) {
      return absl::InvalidArgumentError(
          StrCat("token '", texts[id], "' has two ids, ", *before, " and ", id));
    }
    result.Add(texts[id], static_cast<int32_t>(id));
  }
  return result;
}

void Vocabulary::Add(std::string text, int32_t id) {
  const auto index = static_cast<size_t>(id);
  if (index >= texts_.size()) texts_.resize(index + 1);
  texts_[index] = text;
  ids_[std::move(text)] = id;
}

std::optional<int32_t> Vocabulary::Id(std::string_view text) const {
  const auto found = ids_.find(ToAbsl(text));
  if (found == ids_.end()) return std::nullopt;
  return found->second;
}

const std::string* Vocabulary::Text(int32_t id) const {
  const std::optional<std::string>& text = texts_[static_cast<size_t>(id)];
  return text.has_value() ? &*text : nullptr;
}

absl::Status UnknownText(std::string_view text, std::string_view unknown_token) {
  return absl::InvalidArgumentError(StrCat("the vocabulary has no token for '",
                                           Excerpt(text, kMaxNameBytes),
                                           "', nor for what is unknown ('", unknown_token, "')"));
}

std::string ByteTokenText(unsigned char byte) { return absl::StrFormat("<0x%02X>", byte); }

std::optional<unsigned char> ByteOfToken(std::string_view text) {
  if (text.size() != 6 || !text.starts_with("<0x") || !text.ends_with(">")) return std::nullopt;
  unsigned char byte = 0;
  const char* const end = text.data() + 5;
  if (std::from_chars(text.data() + 3, end, byte, 16).ptr != end) return std::nullopt;
  return byte;
}

ByteTokens::ByteTokens(const Vocabulary& vocabulary) {
  for (size_t byte = 0; byte < ids_.size(); ++byte) {
    ids_[byte] = vocabulary.Id(ByteTokenText(static_cast<unsigned char>(byte))).value_or(kNone);
  }
}

bool ByteTokens::Append(std::string_view text, std::vector<int32_t>& ids) const {
  const size_t before = ids.size();
  for (const char byte : text) {
    ids.push_back(ids_[static_cast<unsigned char>(byte)]);
    if (ids.back() != kNone) continue;
    ids.resize(before);
    return false;
  }
  return true;
}

}  // namespace shira
