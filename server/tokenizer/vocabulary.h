// File: server/tokenizer/vocabulary.h
//
// The tokens of a model and their ids.

#ifndef SHIRA_SERVER_TOKENIZER_VOCABULARY_H_
#define SHIRA_SERVER_TOKENIZER_VOCABULARY_H_

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"

namespace shira {

// Immutable and thread-safe once built.
class Vocabulary {
 public:
  // The object {"text": id} of tokenizer.json. Ids may be left out, and two texts may share one:
  // both encode to it, and one of them is what it decodes to. INVALID_ARGUMENT, naming `where`, for
  // anything else.
  static absl::StatusOr<Vocabulary> FromJson(const nlohmann::json& json, std::string_view where);

  // Texts by id; an empty one is an id without a token. INVALID_ARGUMENT for two ids with one text.
  static absl::StatusOr<Vocabulary> FromTexts(const std::vector<std::string>& texts);

  // A text that is there already moves to the new id. REQUIRES: 0 <= id <= kMaxTokenId.
  void Add(std::string text, int32_t id);

  std::optional<int32_t> Id(std::string_view text) const;
  // nullptr for an id without a token. REQUIRES: 0 <= id < id_count().
  const std::string* Text(int32_t id) const;

  // One more than the greatest id.
  int32_t id_count() const { return static_cast<int32_t>(texts_.size()); }
  // How many texts there are.
  size_t size() const { return ids_.size(); }

 private:
  std::vector<std::optional<std::string>> texts_;  // by id
  absl::flat_hash_map<std::string, int32_t> ids_;
};

// INVALID_ARGUMENT: a vocabulary has neither a token for `text` nor the one that stands for what is
// unknown.
absl::Status UnknownText(std::string_view text, std::string_view unknown_token);

// "<0x41>": the token that stands for a byte where a vocabulary falls back to bytes.
std::string ByteTokenText(unsigned char byte);
// The byte of such a token; nullopt for another text.
std::optional<unsigned char> ByteOfToken(std::string_view text);

// The tokens of a vocabulary that stand for bytes.
class ByteTokens {
 public:
  // For a vocabulary without any.
  ByteTokens() { ids_.fill(kNone); }
  explicit ByteTokens(const Vocabulary& vocabulary);

  // Appends the tokens of the bytes of `text`; false, and nothing, where one of them is missing.
  bool Append(std::string_view text, std::vector<int32_t>& ids) const;

 private:
  static constexpr int32_t kNone = -1;

  std::array<int32_t, 256> ids_;
};

}  // namespace shira

#endif  // SHIRA_SERVER_TOKENIZER_VOCABULARY_H_
