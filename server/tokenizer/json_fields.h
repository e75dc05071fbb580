// File: server/tokenizer/json_fields.h
//
// Typed access to the objects of tokenizer.json. `where` is the path of the object
// ("pre_tokenizer.pretokenizers[1]"); it begins every message. All errors are INVALID_ARGUMENT.

#ifndef SHIRA_SERVER_TOKENIZER_JSON_FIELDS_H_
#define SHIRA_SERVER_TOKENIZER_JSON_FIELDS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"

namespace shira {

// Deepest nesting of "Sequence" components.
inline constexpr int kMaxComponentDepth = 16;

// The member, which may be null; absent is an error.
absl::StatusOr<const nlohmann::json*> JsonMember(const nlohmann::json& object, const char* key,
                                                 std::string_view where);
absl::StatusOr<std::string> JsonString(const nlohmann::json& object, const char* key,
                                       std::string_view where);
// `absent` is what an absent member means; without it absence is an error.
absl::StatusOr<bool> JsonBool(const nlohmann::json& object, const char* key, std::string_view where,
                              std::optional<bool> absent = std::nullopt);
// An integer that is not negative.
absl::StatusOr<uint64_t> JsonCount(const nlohmann::json& object, const char* key,
                                   std::string_view where);
// A text of one character.
absl::StatusOr<char32_t> JsonCharacter(const nlohmann::json& object, const char* key,
                                       std::string_view where);
absl::StatusOr<const nlohmann::json*> JsonArray(const nlohmann::json& object, const char* key,
                                                std::string_view where);

// A token id: an integer from 0 to kMaxTokenId.
inline constexpr int32_t kMaxTokenId = (1 << 22) - 1;
absl::StatusOr<int32_t> JsonTokenId(const nlohmann::json& value, std::string_view where);

// INVALID_ARGUMENT where a component is no object or is nested too deeply.
absl::Status CheckComponent(const nlohmann::json& component, std::string_view where, int depth);

// The "type" of a component. INVALID_ARGUMENT as above, and where it has none.
absl::StatusOr<std::string> ComponentType(const nlohmann::json& component, std::string_view where,
                                          int depth);

// UNIMPLEMENTED, naming `where` and `type`.
absl::Status UnknownComponent(std::string_view where, std::string_view type,
                              std::string_view known);

}  // namespace shira

#endif  // SHIRA_SERVER_TOKENIZER_JSON_FIELDS_H_
