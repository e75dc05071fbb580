#include "server/tokenizer/gguf_special_tokens.h"

#include <algorithm>
#include <set>
#include <string_view>

#include "absl/container/flat_hash_map.h"
#include "absl/types/span.h"
#include "base/status_macros.h"
#include "base/strings.h"

namespace shira {
namespace {

// A role that the metadata give by id (the first key that is there) or, failing that, the text
// does.
struct Role {
  std::vector<std::string_view> keys;
  std::vector<std::string_view> texts;
  bool ends_generation;
};

const std::vector<Role>& Roles() {
  static const auto* const roles = new std::vector<Role>{
      {{"tokenizer.ggml.eos_token_id"}, {}, true},
      {{"tokenizer.ggml.eot_token_id"}, {}, true},
      {{"tokenizer.ggml.eom_token_id"}, {}, true},
      {{"tokenizer.ggml.fim_pad_token_id"},
       {"<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>", "[PAD]"},
       true},
      {{"tokenizer.ggml.fim_rep_token_id"},
       {"<|fim_repo|>", "<|repo_name|>", "<fim-repo>", "<REPO>", "<reponame>"},
       true},
      {{"tokenizer.ggml.fim_sep_token_id"}, {"<|file_sep|>"}, true},
      {{"tokenizer.ggml.fim_pre_token_id", "tokenizer.ggml.prefix_token_id"},
       {"<|fim_prefix|>", "<fim-prefix>", "<fim_prefix>", "<｜fim▁begin｜>", "<PRE>", "▁<PRE>",
        "<|code_prefix|>", "<|prefix|>"},
       false},
      {{"tokenizer.ggml.fim_suf_token_id", "tokenizer.ggml.suffix_token_id"},
       {"<|fim_suffix|>", "<fim-suffix>", "<fim_suffix>", "<｜fim▁hole｜>", "<SUF>", "▁<SUF>",
        "<|code_suffix|>", "<|suffix|>"},
       false},
      {{"tokenizer.ggml.fim_mid_token_id", "tokenizer.ggml.middle_token_id"},
       {"<|fim_middle|>", "<fim-middle>", "<fim_middle>", "<｜fim▁end｜>", "<MID>", "▁<MID>",
        "<|code_middle|>", "<|middle|>"},
       false},
  };
  return *roles;
}

// The names of chat templates. The misspelling is the format's.
constexpr std::pair<std::string_view, std::string_view> kNames[] = {
    {"tokenizer.ggml.bos_token_id", "bos_token"},
    {"tokenizer.ggml.eos_token_id", "eos_token"},
    {"tokenizer.ggml.unknown_token_id", "unk_token"},
    {"tokenizer.ggml.seperator_token_id", "sep_token"},
    {"tokenizer.ggml.padding_token_id", "pad_token"},
    {"tokenizer.ggml.cls_token_id", "cls_token"},
    {"tokenizer.ggml.mask_token_id", "mask_token"},
};

// Whatever the metadata say.
constexpr std::string_view kEndOfGeneration[] = {"<|eot_id|>",
                                                 "<|im_end|>",
                                                 "<|end|>",
                                                 "<|return|>",
                                                 "<|call|>",
                                                 "<|flush|>",
                                                 "<|calls|>",
                                                 "<|eom_id|>",
                                                 "<end_of_turn>",
                                                 "<|endoftext|>",
                                                 "</s>",
                                                 "<EOT>",
                                                 "_<EOT>",
                                                 "[EOT]",
                                                 "[EOS]",
                                                 "<|end_of_text|>",
                                                 "<end_of_utterance>",
                                                 "<eos>",
                                                 "<turn|>",
                                                 "<|tool_response>",
                                                 "<｜end▁of▁sentence｜>",
                                                 "[e~["};

// The channels of gpt-oss are shown, not skipped.
constexpr std::string_view kAlwaysShown[] = {"<|channel|>", "<|message|>", "<|start|>",
                                             "<|constrain|>"};

class Reader {
 public:
  Reader(const GgufFile& gguf, const std::vector<std::string>& tokens,
         const GgufDefaultIds& defaults)
      : gguf_(gguf), tokens_(tokens), defaults_(defaults) {
    for (size_t id = 0; id < tokens.size(); ++id) {
      ids_.try_emplace(tokens[id], static_cast<int32_t>(id));
    }
  }

  absl::StatusOr<GgufSpecialTokens> Read() {
    SHIRA_RETURN_IF_ERROR(ReadTypes());
    SHIRA_ASSIGN_OR_RETURN(result_.bos_id, IdOf("tokenizer.ggml.bos_token_id"));
    SHIRA_ASSIGN_OR_RETURN(result_.eos_id, IdOf("tokenizer.ggml.eos_token_id"));
    SHIRA_ASSIGN_OR_RETURN(result_.unknown_id, IdOf("tokenizer.ggml.unknown_token_id"));
    for (const auto& [key, name] : kNames) {
      SHIRA_ASSIGN_OR_RETURN(const std::optional<int32_t> id, IdOf(key));
      if (id.has_value()) result_.named_ids.emplace_back(name, *id);
    }
    for (const Role& role : Roles()) SHIRA_RETURN_IF_ERROR(Assign(role));
    for (const std::string_view text : kEndOfGeneration) {
      if (const std::optional<int32_t> id = Find(text); id.has_value()) {
        TypeOf(*id) = GgufTokenType::kControl;
        ends_.insert(*id);
      }
    }
    for (const std::string_view text : kAlwaysShown) {
      if (const std::optional<int32_t> id = Find(text); id.has_value()) {
        TypeOf(*id) = GgufTokenType::kUserDefined;
      }
    }
    RemoveFalseEnds();
    result_.end_of_generation_ids.assign(ends_.begin(), ends_.end());
    return std::move(result_);
  }

 private:
  absl::Status ReadTypes() {
    result_.types.assign(tokens_.size(), GgufTokenType::kNormal);
    const GgufValue* value = gguf_.FindMetadata("tokenizer.ggml.token_type");
    if (value == nullptr) return absl::OkStatus();
    const auto* types = std::get_if<std::vector<int64_t>>(value);
    if (types == nullptr || types->size() < tokens_.size()) {
      return absl::InvalidArgumentError(StrCat(gguf_.source(),
                                               ": tokenizer.ggml.token_type is no array of ",
                                               tokens_.size(), " integers, one for each token"));
    }
    for (size_t id = 0; id < tokens_.size(); ++id) {
      const int64_t type = (*types)[id];
      const bool known = type >= static_cast<int64_t>(GgufTokenType::kNormal) &&
                         type <= static_cast<int64_t>(GgufTokenType::kByte);
      result_.types[id] = known ? static_cast<GgufTokenType>(type) : GgufTokenType::kUndefined;
    }
    return absl::OkStatus();
  }

  absl::StatusOr<std::optional<int32_t>> IdOf(std::string_view key) const {
    SHIRA_ASSIGN_OR_RETURN(const std::optional<int64_t> id, gguf_.GetTokenId(key));
    if (!id.has_value()) return DefaultOf(key);
    if (*id < 0 || static_cast<size_t>(*id) >= tokens_.size()) {
      return absl::InvalidArgumentError(StrCat(gguf_.source(), ": ", key, " is ", *id,
                                               ", outside of the vocabulary of ", tokens_.size(),
                                               " tokens"));
    }
    return static_cast<int32_t>(*id);
  }

  std::optional<int32_t> DefaultOf(std::string_view key) const {
    std::optional<int32_t> id;
    // -1 says that there is none, which is not the same as saying nothing.
    if (gguf_.FindMetadata(key) != nullptr) return id;
    if (key == "tokenizer.ggml.bos_token_id") id = defaults_.bos;
    if (key == "tokenizer.ggml.eos_token_id") id = defaults_.eos;
    if (key == "tokenizer.ggml.unknown_token_id") id = defaults_.unknown;
    if (id.has_value() && static_cast<size_t>(*id) >= tokens_.size()) id.reset();
    return id;
  }

  absl::Status Assign(const Role& role) {
    std::optional<int32_t> id;
    for (const std::string_view key : role.keys) {
      if (id.has_value()) break;
      SHIRA_ASSIGN_OR_RETURN(id, IdOf(key));
    }
    for (const std::string_view text : role.texts) {
      if (id.has_value()) break;
      id = Find(text);
      if (id.has_value()) TypeOf(*id) = GgufTokenType::kControl;
    }
    if (id.has_value() && role.ends_generation) ends_.insert(*id);
    return absl::OkStatus();
  }

  // In two families a token that ends generations elsewhere only separates parts of one.
  void RemoveFalseEnds() {
    const auto ends = [&](std::string_view text) {
      const std::optional<int32_t> id = Find(text);
      return id.has_value() && ends_.contains(*id);
    };
    const bool calls = ends("<|call|>") || ends("<|calls|>");
    if (ends("<|end|>") && calls && (ends("<|return|>") || ends("<|flush|>"))) {
      ends_.erase(*Find("<|end|>"));
      TypeOf(*Find("<|end|>")) = GgufTokenType::kUserDefined;
    }
    if (ends("</s>") && ends("<|tool_response>")) {
      ends_.erase(*Find("</s>"));
      TypeOf(*Find("</s>")) = GgufTokenType::kNormal;
    }
  }

  std::optional<int32_t> Find(std::string_view text) const {
    const auto found = ids_.find(text);
    if (found == ids_.end()) return std::nullopt;
    return found->second;
  }

  GgufTokenType& TypeOf(int32_t id) { return result_.types[static_cast<size_t>(id)]; }

  const GgufFile& gguf_;
  const std::vector<std::string>& tokens_;
  const GgufDefaultIds defaults_;
  absl::flat_hash_map<std::string_view, int32_t> ids_;
  std::set<int32_t> ends_;
  GgufSpecialTokens result_;
};

}  // namespace

absl::StatusOr<GgufSpecialTokens> ReadGgufSpecialTokens(const GgufFile& gguf,
                                                        const std::vector<std::string>& tokens,
                                                        const GgufDefaultIds& defaults) {
  return Reader(gguf, tokens, defaults).Read();
}

}  // namespace shira
