// File: server/tokenizer/metaspace.h
//
// What the pre-tokenizer and the decoder "Metaspace" of tokenizer.json are told: a visible character
// stands for a space.

#ifndef SHIRA_SERVER_TOKENIZER_METASPACE_H_
#define SHIRA_SERVER_TOKENIZER_METASPACE_H_

#include <string_view>

#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"

namespace shira {

struct Metaspace {
  // Which pieces of a text get one in front where they have none: all, the one at the start of the
  // text, or none.
  enum class Prepend { kAlways, kFirst, kNever };

  char32_t replacement = 0x2581;
  Prepend prepend = Prepend::kAlways;
  bool split = true;  // pieces begin with it

  // INVALID_ARGUMENT, naming `where`, for a malformed object.
  static absl::StatusOr<Metaspace> FromJson(const nlohmann::json& json, std::string_view where);
};

}  // namespace shira

#endif  // SHIRA_SERVER_TOKENIZER_METASPACE_H_
