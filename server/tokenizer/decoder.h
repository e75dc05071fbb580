// File: server/tokenizer/decoder.h
//
// The "decoder" of tokenizer.json: from the texts of tokens back to bytes. The tokenizers that we
// know have a byte-level one, which takes each token by itself.

#ifndef SHIRA_SERVER_TOKENIZER_DECODER_H_
#define SHIRA_SERVER_TOKENIZER_DECODER_H_

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "nlohmann/json.hpp"

namespace shira {

// OK for ByteLevel, and for a Sequence of it and of Fuse (which does nothing after it).
// UNIMPLEMENTED for anything else.
absl::Status CheckDecoder(const nlohmann::json& json, std::string_view where, int depth = 0);

// The bytes that `token` stands for; a token with a character outside of the byte-level alphabet
// stands for itself.
std::string DecodeToken(std::string_view token);

}  // namespace shira

#endif  // SHIRA_SERVER_TOKENIZER_DECODER_H_
