#include "server/tokenizer/decoder.h"

#include <optional>

#include "base/status_macros.h"
#include "base/strings.h"
#include "server/tokenizer/byte_level.h"
#include "server/tokenizer/json_fields.h"

namespace shira {

absl::Status CheckDecoder(const nlohmann::json& json, std::string_view where, int depth) {
  if (json.is_null()) return UnknownComponent(where, "null", "ByteLevel");
  SHIRA_ASSIGN_OR_RETURN(const std::string type, ComponentType(json, where, depth));
  if (type == "ByteLevel") return absl::OkStatus();
  if (type == "Sequence") {
    SHIRA_ASSIGN_OR_RETURN(const nlohmann::json* elements, JsonArray(json, "decoders", where));
    int index = 0;
    int byte_levels = 0;
    for (const nlohmann::json& element : *elements) {
      const std::string place = StrCat(where, ".decoders[", index++, "]");
      const bool fuse = element.is_object() && element.value("type", "") == "Fuse";
      if (fuse && byte_levels > 0) continue;
      SHIRA_RETURN_IF_ERROR(CheckDecoder(element, place, depth + 1));
      ++byte_levels;
    }
    if (byte_levels == 1) return absl::OkStatus();
  }
  return UnknownComponent(where, type, "ByteLevel, and a Sequence of it and Fuse");
}

std::string DecodeToken(std::string_view token) {
  std::optional<std::string> bytes = ByteLevelToBytes(token);
  return bytes.has_value() ? *std::move(bytes) : std::string(token);
}

}  // namespace shira
