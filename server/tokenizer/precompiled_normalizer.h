// File: server/tokenizer/precompiled_normalizer.h
//
// The normalizer "Precompiled" of tokenizer.json: SentencePiece's table of replacements, as its
// models hold it.
//
// The table, in base64, is: the size in bytes of a trie (uint32, little-endian), the trie as a
// double array of uint32 (darts-clone), then texts that each end in a zero byte. The trie's values
// are places in these texts.

#ifndef SHIRA_SERVER_TOKENIZER_PRECOMPILED_NORMALIZER_H_
#define SHIRA_SERVER_TOKENIZER_PRECOMPILED_NORMALIZER_H_

#include <memory>
#include <string_view>

#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"
#include "server/tokenizer/normalizer.h"

namespace shira {

// INVALID_ARGUMENT, naming `where`, for a malformed object or table.
absl::StatusOr<std::unique_ptr<const Normalizer>> MakePrecompiledNormalizer(
    const nlohmann::json& json, std::string_view where);

}  // namespace shira

#endif  // SHIRA_SERVER_TOKENIZER_PRECOMPILED_NORMALIZER_H_
