#include "server/text_tools.h"

#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <string_view>
#include <utility>

#include "base/mapped_file.h"
#include "base/python_json.h"
#include "base/status_macros.h"
#include "base/strings.h"

namespace shira {
namespace {

namespace fs = std::filesystem;

// The largest tokenizer_config.json in circulation are about 1 MB.
constexpr uint64_t kMaxTextFileBytes = uint64_t{64} << 20;

// What a model has for conversations, by name; most have "default" alone.
struct TemplateSources {
  std::string where;  // for messages
  std::map<std::string, std::string> texts = {};
};

// nullopt if there is no such file.
absl::StatusOr<std::optional<std::string>> ReadOptionalFile(const fs::path& path) {
  std::error_code error;
  if (!fs::exists(path, error)) return std::nullopt;
  SHIRA_ASSIGN_OR_RETURN(std::string text, ReadFile(path.native(), kMaxTextFileBytes));
  return std::optional<std::string>(std::move(text));
}

// The files of templates; transformers lets additional_chat_templates/default.jinja win.
absl::StatusOr<TemplateSources> TemplateFiles(const fs::path& folder) {
  TemplateSources sources{.where = (folder / "chat_template.jinja").native()};
  SHIRA_ASSIGN_OR_RETURN(std::optional<std::string> text, ReadOptionalFile(sources.where));
  if (text.has_value()) sources.texts["default"] = *std::move(text);
  const fs::path more = folder / "additional_chat_templates";
  std::error_code error;
  for (fs::directory_iterator entry(more, error), end; !error && entry != end;
       entry.increment(error)) {
    const fs::path& path = entry->path();
    if (path.extension() != ".jinja") continue;
    SHIRA_ASSIGN_OR_RETURN(sources.texts[path.stem().native()],
                           ReadFile(path.native(), kMaxTextFileBytes));
    sources.where = more.native();
  }
  return sources;
}

// tokenizer_config.json's chat_template: one text, or a list of {"name": ..., "template": ...}.
absl::StatusOr<TemplateSources> ConfiguredTemplates(const fs::path& folder) {
  TemplateSources sources{.where = (folder / "tokenizer_config.json").native()};
  SHIRA_ASSIGN_OR_RETURN(const std::optional<std::string> text, ReadOptionalFile(sources.where));
  if (!text.has_value()) return sources;
  const nlohmann::json json = ParsePythonJson(*text);
  if (!json.is_object() || !json.contains("chat_template")) return sources;
  const nlohmann::json& value = json["chat_template"];
  if (value.is_null()) return sources;
  if (value.is_string()) {
    sources.texts["default"] = value.get<std::string>();
    return sources;
  }
  const auto is_text = [](const nlohmann::json& entry, const char* key) {
    return entry.is_object() && entry.contains(key) && entry[key].is_string();
  };
  for (const nlohmann::json& entry : value.is_array() ? value : nlohmann::json{nullptr}) {
    if (!is_text(entry, "name") || !is_text(entry, "template")) {
      return absl::InvalidArgumentError(
          StrCat(sources.where,
                 ": chat_template: expected a text, or a list of objects with name and template"));
    }
    sources.texts[entry["name"]] = entry["template"];
  }
  return sources;
}

absl::StatusOr<TemplateSources> FindTemplates(const std::string& path, const WeightSource& source) {
  if (const GgufFile* gguf = source.gguf()) {
    TemplateSources sources{.where = StrCat(path, ": tokenizer.chat_template")};
    if (gguf->FindMetadata("tokenizer.chat_template") == nullptr) return sources;
    SHIRA_ASSIGN_OR_RETURN(sources.texts["default"], gguf->GetString("tokenizer.chat_template"));
    return sources;
  }
  SHIRA_ASSIGN_OR_RETURN(TemplateSources files, TemplateFiles(path));
  return files.texts.empty() ? ConfiguredTemplates(path) : std::move(files);
}

// The one that the operator gives instead of the model's.
absl::StatusOr<TemplateSources> GivenTemplate(const std::string& file) {
  SHIRA_ASSIGN_OR_RETURN(std::string text, ReadFile(file, kMaxTextFileBytes));
  return TemplateSources{.where = file, .texts = {{"default", std::move(text)}}};
}

// nullopt where there is none.
absl::StatusOr<std::optional<ChatTemplate>> ParseTemplate(
    const absl::StatusOr<TemplateSources>& found) {
  SHIRA_RETURN_IF_ERROR(found.status());
  const TemplateSources& sources = *found;
  if (sources.texts.empty()) return std::nullopt;
  const auto standard = sources.texts.find("default");
  if (standard == sources.texts.end()) {
    return absl::InvalidArgumentError(StrCat(sources.where, ": there are ", sources.texts.size(),
                                             " chat templates and none of them is called default"));
  }
  const auto for_tools = sources.texts.find("tool_use");
  absl::StatusOr<ChatTemplate> parsed = ChatTemplate::Parse(
      standard->second, for_tools == sources.texts.end()
                            ? std::nullopt
                            : std::optional<std::string_view>(for_tools->second));
  if (!parsed.ok()) {
    return absl::Status(parsed.status().code(),
                        StrCat(sources.where, ": ", ToStd(parsed.status().message())));
  }
  return std::optional<ChatTemplate>(*std::move(parsed));
}

}  // namespace

absl::StatusOr<TextTools> LoadTextTools(const std::string& path, const WeightSource& source,
                                        const std::string& template_file) {
  TextTools tools;
  SHIRA_ASSIGN_OR_RETURN(tools.tokenizer, source.gguf() != nullptr
                                              ? Tokenizer::FromGguf(*source.gguf())
                                              : Tokenizer::FromHuggingFace(path));
  const bool is_given = !template_file.empty();
  absl::StatusOr<std::optional<ChatTemplate>> found =
      ParseTemplate(is_given ? GivenTemplate(template_file) : FindTemplates(path, source));
  if (found.ok()) {
    tools.chat_template = *std::move(found);
  } else if (is_given) {
    return found.status();
  } else {
    tools.chat_template_problem = std::string(found.status().message());
  }
  return tools;
}

}  // namespace shira
