// File: server/tokenizer/bert_normalizer.h
//
// The normalizers of tokenizer.json that take characters out or put others in their place, one by
// one.

#ifndef SHIRA_SERVER_TOKENIZER_BERT_NORMALIZER_H_
#define SHIRA_SERVER_TOKENIZER_BERT_NORMALIZER_H_

#include <memory>
#include <string_view>

#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"
#include "server/tokenizer/normalizer.h"

namespace shira {

// What BERT does to a text: takes controls out, makes white space spaces, puts spaces around
// ideographs, takes accents off and makes letters small. INVALID_ARGUMENT, naming `where`, for a
// malformed object.
absl::StatusOr<std::unique_ptr<const Normalizer>> MakeBertNormalizer(const nlohmann::json& json,
                                                                     std::string_view where);

// Takes combining marks out.
std::unique_ptr<const Normalizer> MakeStripAccents();

// Takes controls out and makes spaces of other white space, and of U+2581 and U+FFFD.
std::unique_ptr<const Normalizer> MakeNmt();

}  // namespace shira

#endif  // SHIRA_SERVER_TOKENIZER_BERT_NORMALIZER_H_
