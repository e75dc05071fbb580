// Tokenizer::FromHuggingFace: reads tokenizer.json and tokenizer_config.json. Its members
// "truncation" and "padding" serve training and are not applied.

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <utility>

#include "base/mapped_file.h"
#include "base/status_macros.h"
#include "base/strings.h"
#include "server/tokenizer/byte_level_tokenizer.h"
#include "server/tokenizer/decoder.h"
#include "server/tokenizer/json_fields.h"

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

absl::StatusOr<std::vector<AddedToken>> AddedTokensFromJson(const json& root,
                                                            const BpeModel& model) {
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

    const std::optional<int32_t> known = model.TokenId(token.content);
    const auto index = static_cast<size_t>(token.id);
    const std::string there = index < model.tokens().size() ? model.tokens()[index] : "";
    if ((known.has_value() && *known != token.id) || (!there.empty() && there != token.content)) {
      return absl::InvalidArgumentError(
          StrCat(where, ": '", token.content, "' has the id ", token.id, ", but in model.vocab ",
                 known.has_value() ? StrCat("it has ", *known) : StrCat("that is '", there, "'")));
    }
    tokens.push_back(std::move(token));
  }
  return tokens;
}

void FillTokenTables(ByteLevelTokenizer::Components& parts) {
  size_t size = parts.model.tokens().size();
  for (const AddedToken& token : parts.added_vocabulary.tokens()) {
    size = std::max(size, static_cast<size_t>(token.id) + 1);
  }
  parts.token_bytes.resize(size);
  parts.special.resize(size);
  for (size_t id = 0; id < parts.model.tokens().size(); ++id) {
    parts.token_bytes[id] = DecodeToken(parts.model.tokens()[id]);
  }
  for (size_t i = 0; i < parts.added_vocabulary.tokens().size(); ++i) {
    const AddedToken& token = parts.added_vocabulary.tokens()[i];
    parts.token_bytes[static_cast<size_t>(token.id)] = DecodeToken(parts.added_vocabulary.form(i));
    parts.special[static_cast<size_t>(token.id)] = token.special;
  }
}

absl::Status CheckPostProcessorIds(const ByteLevelTokenizer::Components& parts) {
  for (const auto* ids : {&parts.post_processor.prefix, &parts.post_processor.suffix}) {
    for (const int32_t id : *ids) {
      if (static_cast<size_t>(id) >= parts.token_bytes.size()) {
        return absl::InvalidArgumentError(StrCat("post_processor adds the token ", id,
                                                 ", outside of the vocabulary of ",
                                                 parts.token_bytes.size(), " tokens"));
      }
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<ByteLevelTokenizer::Components> ComponentsFromJson(const json& root) {
  ByteLevelTokenizer::Components parts;
  SHIRA_ASSIGN_OR_RETURN(const json* model, JsonMember(root, "model", "tokenizer"));
  SHIRA_ASSIGN_OR_RETURN(parts.model, BpeModel::FromJson(*model, "model"));
  SHIRA_ASSIGN_OR_RETURN(parts.normalizer,
                         Normalizer::FromJson(MemberOrNull(root, "normalizer"), "normalizer"));
  SHIRA_ASSIGN_OR_RETURN(
      parts.pre_tokenizer,
      PreTokenizer::FromJson(MemberOrNull(root, "pre_tokenizer"), "pre_tokenizer"));
  if (!parts.pre_tokenizer->MakesByteLevel()) {
    return absl::UnimplementedError(
        "pre_tokenizer has no ByteLevel: this program knows byte-level BPE only");
  }
  SHIRA_ASSIGN_OR_RETURN(
      parts.post_processor,
      PostProcessor::FromJson(MemberOrNull(root, "post_processor"), "post_processor"));
  SHIRA_RETURN_IF_ERROR(CheckDecoder(MemberOrNull(root, "decoder"), "decoder"));
  SHIRA_ASSIGN_OR_RETURN(std::vector<AddedToken> added, AddedTokensFromJson(root, parts.model));
  SHIRA_ASSIGN_OR_RETURN(
      parts.added_vocabulary,
      AddedVocabulary::Create(std::move(added), AddedVocabulary::Overlap::kLeftmost,
                              parts.normalizer.get()));
  FillTokenTables(parts);
  SHIRA_RETURN_IF_ERROR(CheckPostProcessorIds(parts));
  return parts;
}

// "bos_token": absent, null, a text or an object with "content".
absl::StatusOr<std::string> NamedToken(const json& config, const char* key) {
  const json& value = MemberOrNull(config, key);
  if (value.is_null()) return std::string();
  if (value.is_object()) return JsonString(value, "content", key);
  return JsonString(config, key, "tokenizer_config");
}

absl::Status ApplyConfig(const json& config, ByteLevelTokenizer::Components& parts) {
  SHIRA_ASSIGN_OR_RETURN(parts.bos_token, NamedToken(config, "bos_token"));
  SHIRA_ASSIGN_OR_RETURN(parts.eos_token, NamedToken(config, "eos_token"));
  if (parts.eos_token.empty()) return absl::OkStatus();
  std::optional<int32_t> eos = parts.added_vocabulary.TokenId(parts.eos_token);
  if (!eos.has_value()) eos = parts.model.TokenId(parts.eos_token);
  if (!eos.has_value()) {
    return absl::InvalidArgumentError(
        StrCat("eos_token '", parts.eos_token, "' is not in the vocabulary of tokenizer.json"));
  }
  parts.end_of_generation_ids = {*eos};
  return absl::OkStatus();
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
  absl::StatusOr<ByteLevelTokenizer::Components> parts = ComponentsFromJson(*root);
  if (!parts.ok()) return InFile(path, parts.status());

  const std::string config_path =
      (std::filesystem::path(folder) / "tokenizer_config.json").string();
  std::error_code ignored;
  if (std::filesystem::exists(config_path, ignored)) {
    absl::StatusOr<json> config = ReadJsonFile(config_path);
    if (!config.ok()) return InFile(config_path, config.status());
    const absl::Status applied = ApplyConfig(*config, *parts);
    if (!applied.ok()) return InFile(config_path, applied);
  }
  return std::make_unique<ByteLevelTokenizer>(*std::move(parts));
}

}  // namespace shira
