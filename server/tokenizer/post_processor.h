// File: server/tokenizer/post_processor.h
//
// The "post_processor" of tokenizer.json: the special tokens around a text.

#ifndef SHIRA_SERVER_TOKENIZER_POST_PROCESSOR_H_
#define SHIRA_SERVER_TOKENIZER_POST_PROCESSOR_H_

#include <cstdint>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"

namespace shira {

// What all the post-processors that we know come to for a single text.
struct PostProcessor {
  std::vector<int32_t> prefix;
  std::vector<int32_t> suffix;

  // TemplateProcessing (its "single"), BertProcessing, RobertaProcessing, ByteLevel (which touches
  // only offsets) and Sequence; null adds nothing. It is told by its members, since old files have
  // no types. UNIMPLEMENTED for another one and where the text does not come out exactly once,
  // INVALID_ARGUMENT for a malformed one; messages name `where`.
  static absl::StatusOr<PostProcessor> FromJson(const nlohmann::json& json, std::string_view where);
};

}  // namespace shira

#endif  // SHIRA_SERVER_TOKENIZER_POST_PROCESSOR_H_
