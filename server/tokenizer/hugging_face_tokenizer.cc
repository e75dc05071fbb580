// Tokenizer::FromHuggingFace: reads tokenizer.json, and what the files beside it say about tokens.
// Its members "truncation" and "padding" serve training and are not applied.

#include <algorithm>
#include <filesystem>
#include <utility>

#include "base/mapped_file.h"
#include "base/status_macros.h"
#include "base/strings.h"
#include "server/tokenizer/added_token_list.h"
#include "server/tokenizer/component_tokenizer.h"
#include "server/tokenizer/decoder.h"
#include "server/tokenizer/json_fields.h"
#include "server/tokenizer/token_settings.h"

namespace shira {
namespace {

using nlohmann::json;

// Ten times the largest that is published.
constexpr uint64_t kMaxFileBytes = uint64_t{256} << 20;

absl::StatusOr<json> ReadJsonFile(const std::string& path) {
  SHIRA_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kMaxFileBytes));
  json parsed = json::parse(text, /*callback=*/nullptr, /*allow_exceptions=*/false);
  if (parsed.is_discarded()) {
    return absl::InvalidArgumentError(StrCat("not valid JSON (", text.size(), " bytes)"));
  }
  if (!parsed.is_object()) return absl::InvalidArgumentError("the JSON is no object");
  return parsed;
}

// A component that may be absent.
const json& MemberOrNull(const json& object, const char* key) {
  static const json* const null = new json(nullptr);
  const auto member = object.find(key);
  return member == object.end() ? *null : *member;
}

// With the ids that stand there.
absl::StatusOr<std::vector<AddedToken>> AddedTokensFromJson(const json& root) {
  std::vector<AddedToken> tokens;
  const json& elements = MemberOrNull(root, "added_tokens");
  if (elements.is_null()) return tokens;
  if (!elements.is_array()) return absl::InvalidArgumentError("added_tokens is no array");
  for (const json& element : elements) {
    const std::string where = StrCat("added_tokens[", tokens.size(), "]");
    AddedToken token;
    SHIRA_ASSIGN_OR_RETURN(const json* id, JsonMember(element, "id", where));
    SHIRA_ASSIGN_OR_RETURN(token.id, JsonTokenId(*id, StrCat(where, ".id")));
    SHIRA_ASSIGN_OR_RETURN(token.content, JsonString(element, "content", where));
    SHIRA_ASSIGN_OR_RETURN(token.single_word, JsonBool(element, "single_word", where));
    SHIRA_ASSIGN_OR_RETURN(token.lstrip, JsonBool(element, "lstrip", where));
    SHIRA_ASSIGN_OR_RETURN(token.rstrip, JsonBool(element, "rstrip", where));
    SHIRA_ASSIGN_OR_RETURN(token.normalized, JsonBool(element, "normalized", where));
    SHIRA_ASSIGN_OR_RETURN(token.special, JsonBool(element, "special", where));
    tokens.push_back(std::move(token));
  }
  return tokens;
}

void FillEntries(const AddedTokenList& list, ComponentTokenizer::Components& parts) {
  const Vocabulary& vocabulary = parts.model->vocabulary();
  auto size = static_cast<size_t>(vocabulary.id_count());
  for (const AddedToken& token : parts.added_vocabulary.tokens()) {
    size = std::max(size, static_cast<size_t>(token.id) + 1);
  }
  parts.entries.resize(size);
  for (int32_t id = 0; id < vocabulary.id_count(); ++id) {
    const std::string* text = vocabulary.Text(id);
    if (text != nullptr) parts.entries[static_cast<size_t>(id)].form = *text;
  }
  for (size_t i = 0; i < parts.added_vocabulary.tokens().size(); ++i) {
    const AddedToken& token = parts.added_vocabulary.tokens()[i];
    parts.entries[static_cast<size_t>(token.id)].form = parts.added_vocabulary.form(i);
  }
  for (ComponentTokenizer::Entry& entry : parts.entries) {
    if (!entry.form.has_value()) continue;
    entry.bytes = parts.decoder->TokenBytes(*entry.form);
    entry.special = list.IsSpecialText(*entry.form);
  }
}

absl::Status CheckPostProcessorIds(const ComponentTokenizer::Components& parts) {
  for (const auto* ids : {&parts.post_processor.prefix, &parts.post_processor.suffix}) {
    for (const int32_t id : *ids) {
      if (static_cast<size_t>(id) >= parts.entries.size()) {
        return absl::InvalidArgumentError(StrCat("post_processor adds the token ", id,
                                                 ", outside of the vocabulary of ",
                                                 parts.entries.size(), " tokens"));
      }
    }
  }
  return absl::OkStatus();
}

// All but the added tokens.
absl::StatusOr<ComponentTokenizer::Components> ComponentsFromJson(const json& root) {
  ComponentTokenizer::Components parts;
  SHIRA_ASSIGN_OR_RETURN(const json* model, JsonMember(root, "model", "tokenizer"));
  SHIRA_ASSIGN_OR_RETURN(parts.model, TokenModel::FromJson(*model, "model"));
  SHIRA_ASSIGN_OR_RETURN(parts.normalizer,
                         Normalizer::FromJson(MemberOrNull(root, "normalizer"), "normalizer"));
  SHIRA_ASSIGN_OR_RETURN(
      parts.pre_tokenizer,
      PreTokenizer::FromJson(MemberOrNull(root, "pre_tokenizer"), "pre_tokenizer"));
  SHIRA_ASSIGN_OR_RETURN(
      parts.post_processor,
      PostProcessor::FromJson(MemberOrNull(root, "post_processor"), "post_processor"));
  SHIRA_ASSIGN_OR_RETURN(parts.decoder,
                         Decoder::FromJson(MemberOrNull(root, "decoder"), "decoder"));
  return parts;
}

// Adds the tokens of tokenizer.json and what `settings` has on top.
absl::Status AddTokens(const std::vector<AddedToken>& tokens, const TokenSettings& settings,
                       ComponentTokenizer::Components& parts) {
  AddedTokenList list(*parts.model);
  list.Add(tokens);
  list.Add(TokensToAdd(settings, list));
  SHIRA_ASSIGN_OR_RETURN(parts.added_vocabulary,
                         AddedVocabulary::Create(list.Tokens(), parts.normalizer.get()));
  for (const auto& [name, token] : settings.named) {
    const std::string& content = token.token.content;
    parts.named_tokens.push_back({name, content});
    const std::optional<int32_t> id = list.TokenId(content);
    if (name == "eos_token" && id.has_value()) parts.end_of_generation_ids = {*id};
  }
  parts.split_special_tokens = settings.split_special_tokens;
  FillEntries(list, parts);
  return CheckPostProcessorIds(parts);
}

absl::Status InFile(const std::string& path, const absl::Status& status) {
  if (ToStd(status.message()).starts_with(path)) return status;
  return absl::Status(status.code(), ToAbsl(StrCat(path, ": ", ToStd(status.message()))));
}

}  // namespace

absl::StatusOr<std::unique_ptr<Tokenizer>> Tokenizer::FromHuggingFace(const std::string& folder) {
  const std::string path = (std::filesystem::path(folder) / "tokenizer.json").string();
  absl::StatusOr<json> root = ReadJsonFile(path);
  if (!root.ok()) return InFile(path, root.status());
  absl::StatusOr<ComponentTokenizer::Components> parts = ComponentsFromJson(*root);
  if (!parts.ok()) return InFile(path, parts.status());
  const absl::StatusOr<std::vector<AddedToken>> tokens = AddedTokensFromJson(*root);
  if (!tokens.ok()) return InFile(path, tokens.status());
  SHIRA_ASSIGN_OR_RETURN(const TokenSettings settings, ReadTokenSettings(folder, *tokens));
  const absl::Status added = AddTokens(*tokens, settings, *parts);
  if (!added.ok()) return InFile(path, added);
  return std::make_unique<ComponentTokenizer>(*std::move(parts));
}

}  // namespace shira
