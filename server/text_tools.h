// File: server/text_tools.h
//
// Finds a model's tokenizer and chat template, wherever its layout keeps them.

#ifndef SHIRA_SERVER_TEXT_TOOLS_H_
#define SHIRA_SERVER_TEXT_TOOLS_H_

#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "server/model/weight_loader.h"
#include "server/tokenizer/chat_template.h"
#include "server/tokenizer/tokenizer.h"

namespace shira {

struct TextTools {
  std::unique_ptr<Tokenizer> tokenizer;
  std::optional<ChatTemplate> chat_template;  // nullopt: the model has none
};

// The tokenizer of the model at `path`, whose weights are `source`: a GGUF's own vocabulary, or the
// folder's tokenizer.json. The template is the first of chat_template.jinja,
// tokenizer_config.json's chat_template (of several, the one named "default") and GGUF's
// tokenizer.chat_template. Errors name the file.
absl::StatusOr<TextTools> LoadTextTools(const std::string& path, const WeightSource& source);

}  // namespace shira

#endif  // SHIRA_SERVER_TEXT_TOOLS_H_
