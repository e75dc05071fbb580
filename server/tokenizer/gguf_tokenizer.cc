// Tokenizer::FromGguf: the vocabulary in the metadata of a GGUF file.

#include <cmath>
#include <optional>
#include <utility>

#include "base/status_macros.h"
#include "base/strings.h"
#include "server/tokenizer/bpe_model.h"
#include "server/tokenizer/byte_level.h"
#include "server/tokenizer/component_tokenizer.h"
#include "server/tokenizer/decoder.h"
#include "server/tokenizer/gguf_pre_tokenizers.h"
#include "server/tokenizer/gguf_special_tokens.h"
#include "server/tokenizer/score_merge_model.h"
#include "server/tokenizer/utf8.h"

namespace shira {
namespace {

constexpr std::string_view kVisibleSpace = "\xE2\x96\x81";  // U+2581

// The bytes of a byte-level token; one with a character outside of the alphabet stands for itself.
std::string BytesOfByteLevel(const std::string& token) {
  std::optional<std::string> bytes = ByteLevelToBytes(token);
  return bytes.has_value() ? *std::move(bytes) : token;
}

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

// What the three kinds of vocabularies differ in.
struct Kind {
  std::string_view model;  // tokenizer.ggml.model
  // A space is U+2581 in tokens, and what the vocabulary lacks becomes byte tokens.
  bool spaces_are_visible;
  bool add_bos;           // where the metadata do not say
  bool always_add_bos;    // whatever they say
  bool add_space_prefix;  // where they do not say
  GgufDefaultIds default_ids;
};

constexpr Kind kKinds[] = {
    {"gpt2", false, false, false, false, {}},
    {"llama", true, true, false, true, {.bos = 1, .eos = 2, .unknown = 0}},
    {"gemma4", true, true, true, false, {}},
};

absl::StatusOr<const Kind*> ReadKind(const GgufFile& gguf) {
  SHIRA_ASSIGN_OR_RETURN(const std::string model, gguf.GetString("tokenizer.ggml.model"));
  for (const Kind& kind : kKinds) {
    if (kind.model == model) return &kind;
  }
  return absl::UnimplementedError(
      StrCat(gguf.source(), ": tokenizer.ggml.model is '", model,
             "', which this program does not know; it knows gpt2, llama and gemma4"));
}

absl::StatusOr<const GgufPreTokenizer*> ReadPreTokenizer(const GgufFile& gguf) {
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

// A score for each of `count` tokens, 0 where the file has none.
absl::StatusOr<std::vector<float>> ReadScores(const GgufFile& gguf, size_t count) {
  std::vector<float> scores(count);
  const GgufValue* value = gguf.FindMetadata("tokenizer.ggml.scores");
  if (value == nullptr) return scores;
  const auto* floats = std::get_if<std::vector<double>>(value);
  const auto* integers = std::get_if<std::vector<int64_t>>(value);
  const size_t size = floats != nullptr     ? floats->size()
                      : integers != nullptr ? integers->size()
                                            : 0;
  if (size < count) {
    return absl::InvalidArgumentError(StrCat(gguf.source(),
                                             ": tokenizer.ggml.scores is no array of ", count,
                                             " numbers, one for each token"));
  }
  for (size_t id = 0; id < count; ++id) {
    scores[id] =
        floats != nullptr ? static_cast<float>((*floats)[id]) : static_cast<float>((*integers)[id]);
    // There is no order with it.
    if (std::isnan(scores[id])) {
      return absl::InvalidArgumentError(
          StrCat(gguf.source(), ": tokenizer.ggml.scores[", id, "] is not a number"));
    }
  }
  return scores;
}

// What the decoder gets of a token; nullopt for none. With byte-level tokens these are bytes.
absl::StatusOr<std::optional<std::string>> FormOf(const Kind& kind, GgufTokenType type,
                                                  const std::string& text) {
  switch (type) {
    case GgufTokenType::kNormal:
      return kind.spaces_are_visible ? text : BytesOfByteLevel(text);
    case GgufTokenType::kUnknown:
    case GgufTokenType::kControl:
    case GgufTokenType::kUserDefined:
      return text;
    case GgufTokenType::kByte: {
      const std::optional<unsigned char> byte = ByteOfToken(text);
      if (!byte.has_value()) {
        return absl::InvalidArgumentError(
            StrCat("byte token '", text, "' is not of the form <0xXX>"));
      }
      return kind.spaces_are_visible ? text : std::string(1, static_cast<char>(*byte));
    }
    case GgufTokenType::kUnused:
    case GgufTokenType::kUndefined:
      break;
  }
  return std::nullopt;
}

absl::Status FillEntries(const Kind& kind, const std::vector<std::string>& tokens,
                         const GgufSpecialTokens& special, ComponentTokenizer::Components& parts) {
  parts.entries.resize(tokens.size());
  for (size_t id = 0; id < tokens.size(); ++id) {
    ComponentTokenizer::Entry& entry = parts.entries[id];
    const GgufTokenType type = special.types[id];
    entry.special = type == GgufTokenType::kUnknown || type == GgufTokenType::kControl;
    SHIRA_ASSIGN_OR_RETURN(entry.form, FormOf(kind, type, tokens[id]));
    if (entry.form.has_value()) entry.bytes = parts.decoder->TokenBytes(*entry.form);
  }
  return absl::OkStatus();
}

absl::StatusOr<AddedVocabulary> MakeAddedVocabulary(const GgufSpecialTokens& special,
                                                    const std::vector<std::string>& tokens,
                                                    const Normalizer* normalizer) {
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
  return AddedVocabulary::Create(std::move(added), normalizer);
}

absl::StatusOr<PostProcessor> ReadPostProcessor(const GgufFile& gguf, const Kind& kind,
                                                bool add_bos, const GgufSpecialTokens& special) {
  if (!kind.always_add_bos) {
    SHIRA_ASSIGN_OR_RETURN(add_bos, GetBool(gguf, "tokenizer.ggml.add_bos_token", add_bos));
  }
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

absl::StatusOr<std::unique_ptr<const TokenModel>> MakeBpe(const GgufFile& gguf,
                                                          const std::vector<std::string>& tokens,
                                                          BpeModel::Options options) {
  SHIRA_ASSIGN_OR_RETURN(const std::vector<BpeModel::Merge> merges, ReadMerges(gguf));
  SHIRA_ASSIGN_OR_RETURN(BpeModel model, BpeModel::Create(tokens, merges, std::move(options)));
  return std::make_unique<const BpeModel>(std::move(model));
}

// Normalizer, pre-tokenizer, model and decoder of byte-level BPE. `add_bos` becomes the rule's.
absl::Status MakeByteLevel(const GgufFile& gguf, const std::vector<std::string>& tokens,
                           bool& add_bos, ComponentTokenizer::Components& parts) {
  SHIRA_ASSIGN_OR_RETURN(const GgufPreTokenizer* rule, ReadPreTokenizer(gguf));
  add_bos = rule->add_bos;
  SHIRA_ASSIGN_OR_RETURN(parts.pre_tokenizer, MakeGgufPreTokenizer(*rule));
  BpeModel::Options options;
  options.ignore_merges = rule->ignore_merges;
  SHIRA_ASSIGN_OR_RETURN(parts.model, MakeBpe(gguf, tokens, std::move(options)));
  std::vector<std::unique_ptr<const DecoderStage>> stages;
  stages.push_back(DecoderStage::Bytes());
  parts.decoder.emplace(std::move(stages));
  return absl::OkStatus();
}

// The same where spaces are visible.
absl::Status MakeVisibleSpaces(const GgufFile& gguf, const Kind& kind,
                               const std::vector<std::string>& tokens,
                               const GgufSpecialTokens& special,
                               ComponentTokenizer::Components& parts) {
  bool prefix = kind.add_space_prefix;
  if (kind.model == "llama") {
    SHIRA_ASSIGN_OR_RETURN(prefix, GetBool(gguf, "tokenizer.ggml.add_space_prefix", prefix));
  }
  std::vector<std::unique_ptr<const Normalizer>> normalizers;
  if (prefix) normalizers.push_back(Normalizer::Prepend(std::string(kVisibleSpace)));
  normalizers.push_back(Normalizer::ReplaceSpaces(std::string(kVisibleSpace)));
  parts.normalizer = Normalizer::Sequence(std::move(normalizers));

  std::vector<std::unique_ptr<const PreTokenizer>> pre_tokenizers;
  if (kind.model == "llama") {
    SHIRA_ASSIGN_OR_RETURN(Vocabulary vocabulary, Vocabulary::FromTexts(tokens));
    SHIRA_ASSIGN_OR_RETURN(std::vector<float> scores, ReadScores(gguf, tokens.size()));
    parts.model = std::make_unique<const ScoreMergeModel>(std::move(vocabulary), std::move(scores),
                                                          special.unknown_id);
  } else {
    SHIRA_ASSIGN_OR_RETURN(Regex lines, Regex::Compile("[^\\n]+|[\\n]+"));
    pre_tokenizers.push_back(
        PreTokenizer::Split(std::move(lines), SplitBehavior::kIsolated, /*invert=*/false));
    BpeModel::Options options;
    options.byte_fallback = true;
    options.whole_line_breaks = true;
    SHIRA_ASSIGN_OR_RETURN(parts.model, MakeBpe(gguf, tokens, std::move(options)));
  }
  parts.pre_tokenizer = PreTokenizer::Sequence(std::move(pre_tokenizers));

  std::vector<std::unique_ptr<const DecoderStage>> stages;
  stages.push_back(DecoderStage::ReplaceText(std::string(kVisibleSpace), " "));
  stages.push_back(DecoderStage::ByteFallback());
  stages.push_back(DecoderStage::Fuse());
  if (prefix) stages.push_back(DecoderStage::Strip(' ', /*start=*/1, /*stop=*/0));
  parts.decoder.emplace(std::move(stages));
  return absl::OkStatus();
}

absl::StatusOr<ComponentTokenizer::Components> ReadComponents(const GgufFile& gguf) {
  SHIRA_ASSIGN_OR_RETURN(const Kind* kind, ReadKind(gguf));
  SHIRA_ASSIGN_OR_RETURN(const auto* texts, GetStrings(gguf, "tokenizer.ggml.tokens"));
  std::vector<std::string> tokens = *texts;
  for (size_t id = 0; id < tokens.size(); ++id) {
    if (tokens[id].empty()) tokens[id] = StrCat("[EMPTY_", id, "]");
  }
  SHIRA_ASSIGN_OR_RETURN(const GgufSpecialTokens special,
                         ReadGgufSpecialTokens(gguf, tokens, kind->default_ids));
  ComponentTokenizer::Components parts;
  bool add_bos = kind->add_bos;
  if (kind->spaces_are_visible) {
    SHIRA_RETURN_IF_ERROR(MakeVisibleSpaces(gguf, *kind, tokens, special, parts));
  } else {
    SHIRA_RETURN_IF_ERROR(MakeByteLevel(gguf, tokens, add_bos, parts));
  }
  SHIRA_ASSIGN_OR_RETURN(parts.added_vocabulary,
                         MakeAddedVocabulary(special, tokens, parts.normalizer.get()));
  SHIRA_ASSIGN_OR_RETURN(parts.post_processor, ReadPostProcessor(gguf, *kind, add_bos, special));
  SHIRA_RETURN_IF_ERROR(FillEntries(*kind, tokens, special, parts));
  for (const auto& [name, id] : special.named_ids) {
    parts.named_tokens.push_back({name, tokens[static_cast<size_t>(id)]});
  }
  parts.end_of_generation_ids = special.end_of_generation_ids;
  return parts;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Tokenizer>> Tokenizer::FromGguf(const GgufFile& gguf) {
  absl::StatusOr<ComponentTokenizer::Components> parts = ReadComponents(gguf);
  if (!parts.ok()) return InGguf(gguf, parts.status());
  return std::make_unique<ComponentTokenizer>(*std::move(parts));
}

}  // namespace shira
