#include "server/text_tools.h"

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string_view>
#include <utility>

#include "base/mapped_file.h"
#include "base/status_macros.h"
#include "base/strings.h"

namespace shira {
namespace {

namespace fs = std::filesystem;

// The largest tokenizer_config.json in circulation are about 1 MB.
constexpr uint64_t kMaxTextFileBytes = uint64_t{64} << 20;

struct TemplateSource {
  std::string file;  // for messages
  std::string text;
};

// nullopt if there is no such file.
absl::StatusOr<std::optional<std::string>> ReadOptionalFile(const fs::path& path) {
  std::error_code error;
  if (!fs::exists(path, error)) return std::nullopt;
  SHIRA_ASSIGN_OR_RETURN(std::string text, ReadFile(path.native(), kMaxTextFileBytes));
  return std::optional<std::string>(std::move(text));
}

// nullopt if there is no such file.
absl::StatusOr<std::optional<nlohmann::json>> ReadOptionalJson(const fs::path& path) {
  SHIRA_ASSIGN_OR_RETURN(const std::optional<std::string> text, ReadOptionalFile(path));
  if (!text.has_value()) return std::nullopt;
  nlohmann::json json = nlohmann::json::parse(*text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) {
    return absl::InvalidArgumentError(StrCat(path.native(), ": expected a JSON object"));
  }
  return std::optional<nlohmann::json>(std::move(json));
}

// `value` is one template, or a list of {"name": ..., "template": ...}.
absl::StatusOr<std::string> DefaultTemplate(const nlohmann::json& value, std::string_view file) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_array()) {
    for (const nlohmann::json& entry : value) {
      if (!entry.is_object() || entry.value("name", nlohmann::json()) != "default") continue;
      const nlohmann::json text = entry.value("template", nlohmann::json());
      if (text.is_string()) return text.get<std::string>();
    }
  }
  return absl::InvalidArgumentError(
      StrCat(file, ": chat_template: expected a text, or a list with one named \"default\""));
}

absl::StatusOr<std::optional<TemplateSource>> FindTemplate(const std::string& path,
                                                           const WeightSource& source) {
  if (const GgufFile* gguf = source.gguf()) {
    if (gguf->FindMetadata("tokenizer.chat_template") == nullptr) return std::nullopt;
    SHIRA_ASSIGN_OR_RETURN(std::string text, gguf->GetString("tokenizer.chat_template"));
    return TemplateSource{StrCat(path, ": tokenizer.chat_template"), std::move(text)};
  }
  const fs::path folder(path);
  const fs::path jinja = folder / "chat_template.jinja";
  SHIRA_ASSIGN_OR_RETURN(std::optional<std::string> file, ReadOptionalFile(jinja));
  if (file.has_value()) return TemplateSource{jinja.native(), *std::move(file)};

  const fs::path config = folder / "tokenizer_config.json";
  SHIRA_ASSIGN_OR_RETURN(const std::optional<nlohmann::json> json, ReadOptionalJson(config));
  if (!json.has_value() || !json->contains("chat_template")) return std::nullopt;
  const nlohmann::json& value = (*json)["chat_template"];
  if (value.is_null()) return std::nullopt;
  SHIRA_ASSIGN_OR_RETURN(std::string text, DefaultTemplate(value, config.native()));
  return TemplateSource{config.native(), std::move(text)};
}

absl::Status WithFile(const absl::Status& status, std::string_view file) {
  return absl::Status(status.code(), StrCat(file, ": ", ToStd(status.message())));
}

}  // namespace

absl::StatusOr<TextTools> LoadTextTools(const std::string& path, const WeightSource& source) {
  TextTools tools;
  SHIRA_ASSIGN_OR_RETURN(tools.tokenizer, source.gguf() != nullptr
                                              ? Tokenizer::FromGguf(*source.gguf())
                                              : Tokenizer::FromHuggingFace(path));
  SHIRA_ASSIGN_OR_RETURN(const std::optional<TemplateSource> text, FindTemplate(path, source));
  if (text.has_value()) {
    absl::StatusOr<ChatTemplate> parsed = ChatTemplate::Parse(text->text);
    if (!parsed.ok()) return WithFile(parsed.status(), text->file);
    tools.chat_template = *std::move(parsed);
  }
  return tools;
}

}  // namespace shira
