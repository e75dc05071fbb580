#include "server/tokenizer/precompiled_normalizer.h"

#include <unicode/brkiter.h>
#include <unicode/utext.h>

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/escaping.h"
#include "base/status_macros.h"
#include "base/strings.h"
#include "server/tokenizer/json_fields.h"
#include "server/tokenizer/utf8.h"

namespace shira {
namespace {

// A longer cluster of characters is never replaced as a whole.
constexpr size_t kLongestCluster = 5;

uint32_t LittleEndian(std::string_view bytes, size_t offset) {
  uint32_t value = 0;
  for (size_t i = 0; i < 4; ++i) {
    value |= uint32_t{static_cast<unsigned char>(bytes[offset + i])} << (8 * i);
  }
  return value;
}

// A double array's unit: a label (with the top bit of values, so that none matches a byte), whether
// a value hangs below, and the distance to the children.
struct Unit {
  uint32_t bits;

  bool has_value() const { return ((bits >> 8) & 1) != 0; }
  uint32_t value() const { return bits & 0x7FFFFFFF; }
  uint32_t label() const { return bits & 0x800000FF; }
  size_t offset() const { return size_t{bits >> 10} << ((bits & (1u << 9)) >> 6); }
};

class Table {
 public:
  // nullopt for a malformed one.
  static std::optional<Table> Parse(std::string_view bytes) {
    if (bytes.size() < 4) return std::nullopt;
    const size_t trie_bytes = LittleEndian(bytes, 0);
    if (trie_bytes == 0 || trie_bytes % 4 != 0 || trie_bytes > bytes.size() - 4) {
      return std::nullopt;
    }
    Table table;
    table.units_.reserve(trie_bytes / 4);
    for (size_t i = 0; i < trie_bytes; i += 4) {
      table.units_.push_back({LittleEndian(bytes, 4 + i)});
    }
    table.texts_ = bytes.substr(4 + trie_bytes);
    if (FirstInvalidUtf8(table.texts_).has_value()) return std::nullopt;
    return table;
  }

  // What takes the place of `text`: the value of the shortest key that it begins with.
  std::optional<std::string_view> Find(std::string_view text) const {
    size_t place = units_[0].offset();
    for (const char c : text) {
      const auto byte = static_cast<unsigned char>(c);
      place ^= byte;
      if (byte == 0 || place >= units_.size() || units_[place].label() != byte) break;
      const Unit unit = units_[place];
      place ^= unit.offset();
      if (!unit.has_value()) continue;
      if (place >= units_.size() || units_[place].value() >= texts_.size()) break;
      const std::string_view rest = std::string_view(texts_).substr(units_[place].value());
      return rest.substr(0, rest.find('\0'));
    }
    return std::nullopt;
  }

 private:
  std::vector<Unit> units_;
  std::string texts_;
};

class PrecompiledNormalizer final : public Normalizer {
 public:
  PrecompiledNormalizer(Table table, std::unique_ptr<const icu::BreakIterator> clusters)
      : table_(std::move(table)), clusters_(std::move(clusters)) {}

  absl::Status Normalize(TextPiece& piece) const override {
    UErrorCode error = U_ZERO_ERROR;
    UText* text =
        utext_openUTF8(nullptr, piece.text.data(), static_cast<int64_t>(piece.text.size()), &error);
    const auto close = absl::MakeCleanup([text] { utext_close(text); });
    const std::unique_ptr<icu::BreakIterator> clusters(clusters_->clone());
    clusters->setText(text, error);
    if (U_FAILURE(error)) {
      return absl::InternalError(StrCat("clusters of characters: ", u_errorName(error)));
    }
    std::string result;
    int32_t begin = clusters->first();
    for (int32_t end = clusters->next(); end != icu::BreakIterator::DONE; end = clusters->next()) {
      AppendCluster(std::string_view(piece.text).substr(begin, end - begin), result);
      begin = end;
    }
    piece.text = std::move(result);
    return absl::OkStatus();
  }

 private:
  void AppendCluster(std::string_view cluster, std::string& result) const {
    if (cluster.size() <= kLongestCluster) {
      if (const auto found = table_.Find(cluster); found.has_value()) {
        result += *found;
        return;
      }
    }
    for (size_t begin = 0, end = 0; begin < cluster.size(); begin = end) {
      NextCharacter(cluster, &end);
      const std::string_view character = cluster.substr(begin, end - begin);
      result += table_.Find(character).value_or(character);
    }
  }

  const Table table_;
  const std::unique_ptr<const icu::BreakIterator> clusters_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<const Normalizer>> MakePrecompiledNormalizer(
    const nlohmann::json& json, std::string_view where) {
  SHIRA_ASSIGN_OR_RETURN(const std::string encoded,
                         JsonString(json, "precompiled_charsmap", where));
  std::string bytes;
  std::optional<Table> table;
  if (absl::Base64Unescape(encoded, &bytes)) table = Table::Parse(bytes);
  if (!table.has_value()) {
    return absl::InvalidArgumentError(
        StrCat(where, ".precompiled_charsmap is no table of replacements in base64"));
  }
  UErrorCode error = U_ZERO_ERROR;
  std::unique_ptr<const icu::BreakIterator> clusters(
      icu::BreakIterator::createCharacterInstance(icu::Locale::getRoot(), error));
  if (U_FAILURE(error)) {
    return absl::InternalError(StrCat("ICU has no data for clusters: ", u_errorName(error)));
  }
  return std::make_unique<PrecompiledNormalizer>(*std::move(table), std::move(clusters));
}

}  // namespace shira
