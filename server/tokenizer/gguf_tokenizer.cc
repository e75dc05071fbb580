// Tokenizer::FromGguf: the vocabulary in the metadata of a GGUF file.

#include <charconv>
#include <utility>

#include "base/status_macros.h"
#include "base/strings.h"
#include "server/tokenizer/byte_level_tokenizer.h"
#include "server/tokenizer/decoder.h"
#include "server/tokenizer/gguf_pre_tokenizers.h"
#include "server/tokenizer/gguf_special_tokens.h"
#include "server/tokenizer/utf8.h"

namespace shira {
namespace {

absl::Status InGguf(const GgufFile& gguf, const absl::Status& status) {
  if (ToStd(status.message()).starts_with(gguf.source())) return status;
  return absl::Status(status.code(), ToAbsl(StrCat(gguf.source(), ": ", ToStd(status.message()))));
}

absl::StatusOr<const std::vector<std::string>*> GetStrings(const GgufFile& gguf,
                                                           std::string_view key) {
  const GgufValue* value = gguf.FindMetadata(key);
  if (value == nullptr) {
    return absl::InvalidArgumentError(StrCat(gguf.source(), ": there is no ", key));
  }
  const auto* strings = std::get_if<std::vector<std::string>>(value);
  if (strings == nullptr) {
    return absl::InvalidArgumentError(StrCat(gguf.source(), ": ", key, " is no array of strings"));
  }
  for (size_t i = 0; i < strings->size(); ++i) {
    if (FirstInvalidUtf8((*strings)[i]).has_value()) {
      return absl::InvalidArgumentError(
          StrCat(gguf.source(), ": ", key, "[", i, "] is not valid UTF-8"));
    }
  }
  return strings;
}

absl::StatusOr<bool> GetBool(const GgufFile& gguf, std::string_view key, bool absent) {
  const GgufValue* value = gguf.FindMetadata(key);
  if (value == nullptr) return absent;
  const bool* flag = std::get_if<bool>(value);
  if (flag == nullptr) {
    return absl::InvalidArgumentError(StrCat(gguf.source(), ": ", key, " is no boolean"));
  }
  return *flag;
}

absl::StatusOr<const GgufPreTokenizer*> ReadPreTokenizer(const GgufFile& gguf) {
  SHIRA_ASSIGN_OR_RETURN(const std::string model, gguf.GetString("tokenizer.ggml.model"));
  if (model != "gpt2") {
    return absl::UnimplementedError(
        StrCat(gguf.source(), ": tokenizer.ggml.model is '", model,
               "'; this program knows byte-level BPE only, which is 'gpt2'"));
  }
  std::string name = "default";
  if (gguf.FindMetadata("tokenizer.ggml.pre") != nullptr) {
    SHIRA_ASSIGN_OR_RETURN(name, gguf.GetString("tokenizer.ggml.pre"));
  }
  const GgufPreTokenizer* rule = FindGgufPreTokenizer(name);
  if (rule == nullptr) {
    return absl::UnimplementedError(
        StrCat(gguf.source(), ": tokenizer.ggml.pre is '", name,
               "', a pre-tokenizer that this program does not know; serve the model from its "
               "Hugging Face folder instead"));
  }
  return rule;
}

absl::StatusOr<std::vector<BpeModel::Merge>> ReadMerges(const GgufFile& gguf) {
  SHIRA_ASSIGN_OR_RETURN(const auto* lines, GetStrings(gguf, "tokenizer.ggml.merges"));
  std::vector<BpeModel::Merge> merges;
  merges.reserve(lines->size());
  for (const std::string& line : *lines) {
    const size_t space = line.find(' ', 1);
    if (space == line.npos) {
      return absl::InvalidArgumentError(StrCat(gguf.source(), ": tokenizer.ggml.merges[",
                                               merges.size(), "] is '", line,
                                               "', expected two tokens with a space between"));
    }
    merges.emplace_back(line.substr(0, space), line.substr(space + 1));
  }
  return merges;
}

// The byte of a token "<0x41>".
absl::StatusOr<std::string> ByteTokenBytes(std::string_view text) {
  if (text.size() == 6 && text.starts_with("<0x") && text.ends_with(">")) {
    unsigned char byte = 0;
    const char* const end = text.data() + 5;
    if (std::from_chars(text.data() + 3, end, byte, 16).ptr == end) {
      return std::string(1, static_cast<char>(byte));
    }
  }
  return absl::InvalidArgumentError(StrCat("byte token '", text, "' is not of the form <0xXX>"));
}

absl::Status FillTokenTables(const GgufSpecialTokens& special,
                             ByteLevelTokenizer::Components& parts) {
  const std::vector<std::string>& tokens = parts.model.tokens();
  parts.token_bytes.resize(tokens.size());
  parts.special.resize(tokens.size());
  for (size_t id = 0; id < tokens.size(); ++id) {
    switch (special.types[id]) {
      case GgufTokenType::kNormal:
        parts.token_bytes[id] = DecodeToken(tokens[id]);
        break;
      case GgufTokenType::kUnknown:
      case GgufTokenType::kControl:
        parts.special[id] = true;
        [[fallthrough]];
      case GgufTokenType::kUserDefined:
        parts.token_bytes[id] = tokens[id];
        break;
      case GgufTokenType::kByte: {
        SHIRA_ASSIGN_OR_RETURN(parts.token_bytes[id], ByteTokenBytes(tokens[id]));
        break;
      }
      case GgufTokenType::kUnused:
      case GgufTokenType::kUndefined:
        break;  // no text
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<AddedVocabulary> MakeAddedVocabulary(const GgufSpecialTokens& special,
                                                    const std::vector<std::string>& tokens) {
  std::vector<AddedToken> added;
  for (size_t id = 0; id < tokens.size(); ++id) {
    const GgufTokenType type = special.types[id];
    const bool hidden = type == GgufTokenType::kControl || type == GgufTokenType::kUnknown;
    if (!hidden && type != GgufTokenType::kUserDefined) continue;
    AddedToken token;
    token.id = static_cast<int32_t>(id);
    token.content = tokens[id];
    token.special = hidden;
    added.push_back(std::move(token));
  }
  return AddedVocabulary::Create(std::move(added), /*normalizer=*/nullptr);
}

absl::StatusOr<PostProcessor> ReadPostProcessor(const GgufFile& gguf, const GgufPreTokenizer& rule,
                                                const GgufSpecialTokens& special) {
  SHIRA_ASSIGN_OR_RETURN(const bool add_bos,
                         GetBool(gguf, "tokenizer.ggml.add_bos_token", rule.add_bos));
  SHIRA_ASSIGN_OR_RETURN(const bool add_eos, GetBool(gguf, "tokenizer.ggml.add_eos_token", false));
  if ((add_bos && !special.bos_id.has_value()) || (add_eos && !special.eos_id.has_value())) {
    const std::string_view which = add_bos && !special.bos_id.has_value() ? "bos" : "eos";
    return absl::InvalidArgumentError(StrCat(gguf.source(), ": every text gets the token ", which,
                                             ", but there is no tokenizer.ggml.", which,
                                             "_token_id"));
  }
  PostProcessor result;
  if (add_bos) result.prefix.push_back(*special.bos_id);
  if (add_eos) result.suffix.push_back(*special.eos_id);
  return result;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Tokenizer>> Tokenizer::FromGguf(const GgufFile& gguf) {
  SHIRA_ASSIGN_OR_RETURN(const GgufPreTokenizer* rule, ReadPreTokenizer(gguf));
  SHIRA_ASSIGN_OR_RETURN(const auto* texts, GetStrings(gguf, "tokenizer.ggml.tokens"));
  std::vector<std::string> tokens = *texts;
  for (size_t id = 0; id < tokens.size(); ++id) {
    if (tokens[id].empty()) tokens[id] = StrCat("[EMPTY_", id, "]");
  }
  SHIRA_ASSIGN_OR_RETURN(const std::vector<BpeModel::Merge> merges, ReadMerges(gguf));
  SHIRA_ASSIGN_OR_RETURN(const GgufSpecialTokens special, ReadGgufSpecialTokens(gguf, tokens));

  ByteLevelTokenizer::Components parts;
  BpeModel::Options options;
  options.ignore_merges = rule->ignore_merges;
  absl::StatusOr<BpeModel> model = BpeModel::Create(std::move(tokens), merges, std::move(options));
  if (!model.ok()) return InGguf(gguf, model.status());
  parts.model = *std::move(model);
  SHIRA_ASSIGN_OR_RETURN(parts.added_vocabulary,
                         MakeAddedVocabulary(special, parts.model.tokens()));
  SHIRA_ASSIGN_OR_RETURN(parts.pre_tokenizer, MakeGgufPreTokenizer(*rule));
  SHIRA_ASSIGN_OR_RETURN(parts.post_processor, ReadPostProcessor(gguf, *rule, special));
  const absl::Status filled = FillTokenTables(special, parts);
  if (!filled.ok()) return InGguf(gguf, filled);
  for (const auto& [name, id] : special.named_ids) {
    parts.named_tokens.push_back({name, parts.model.tokens()[static_cast<size_t>(id)]});
  }
  parts.end_of_generation_ids = special.end_of_generation_ids;
  return std::make_unique<ByteLevelTokenizer>(std::move(parts));
}

}  // namespace shira
