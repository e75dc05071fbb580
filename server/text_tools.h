// File: server/text_tools.h
//
// Finds a model's tokenizer and chat template, wherever its layout keeps them.

#ifndef SHIRA_SERVER_TEXT_TOOLS_H_
#define SHIRA_SERVER_TEXT_TOOLS_H_

#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "server/jinja/chat_template.h"
#include "server/model/weight_loader.h"
#include "server/tokenizer/tokenizer.h"

namespace shira {

struct TextTools {
  std::unique_ptr<Tokenizer> tokenizer;
  std::optional<ChatTemplate> chat_template;  // nullopt: the model has none that can be used
  std::string chat_template_problem;          // why not, where it has one
};

// The tokenizer of the model at `path`, whose weights are `source`: a GGUF's own vocabulary, or the
// folder's tokenizer.json. The template is GGUF's tokenizer.chat_template, or a folder's as
// transformers finds it: additional_chat_templates/*.jinja, chat_template.jinja, or without such
// files tokenizer_config.json's chat_template; of several the one named "default", and "tool_use"
// where a conversation has tools. A template of the model that cannot be used does not prevent
// plain prompts, so it is no error. `template_file` replaces all of them unless it is empty, and
// one that cannot be used is an error. Errors name the file.
absl::StatusOr<TextTools> LoadTextTools(const std::string& path, const WeightSource& source,
                                        const std::string& template_file);

}  // namespace shira

#endif  // SHIRA_SERVER_TEXT_TOOLS_H_
