#include "server/tokenizer/bpe_model.h"

#include <queue>

#include "base/status_macros.h"
#include "base/strings.h"
#include "server/tokenizer/json_fields.h"
#include "server/tokenizer/utf8.h"

namespace shira {
namespace {

// A token of the piece, in a list of neighbours. Its place never changes: a merge keeps the left
// one and takes the right one out.
struct Symbol {
  int32_t id;  // -1: taken out
  int32_t previous;
  int32_t next;  // -1: none
};

struct Candidate {
  int32_t rank;
  int32_t left;  // place
  int32_t left_id;
  int32_t right_id;
  int32_t merged_id;

  // std::priority_queue gives the greatest first.
  bool operator<(const Candidate& other) const {
    return rank != other.rank ? rank > other.rank : left > other.left;
  }
};

absl::StatusOr<BpeModel::Merge> MergeFromJson(const nlohmann::json& json,
                                              const std::string& where) {
  if (json.is_string()) {
    const std::string& text = json.get_ref<const std::string&>();
    const size_t space = text.find(' ');
    if (space != text.npos && text.find(' ', space + 1) == text.npos) {
      return BpeModel::Merge(text.substr(0, space), text.substr(space + 1));
    }
  } else if (json.is_array() && json.size() == 2 && json[0].is_string() && json[1].is_string()) {
    return BpeModel::Merge(json[0].get<std::string>(), json[1].get<std::string>());
  }
  return absl::InvalidArgumentError(
      StrCat(where, " is ", json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace),
             R"(, expected "left right" or ["left", "right"])"));
}

absl::StatusOr<std::vector<std::string>> TokensFromJson(const nlohmann::json& json,
                                                        std::string_view where) {
  SHIRA_ASSIGN_OR_RETURN(const nlohmann::json* vocabulary, JsonMember(json, "vocab", where));
  if (!vocabulary->is_object()) {
    return absl::InvalidArgumentError(StrCat(where, ".vocab is no object"));
  }
  std::vector<std::string> tokens;
  for (const auto& [text, value] : vocabulary->items()) {
    const std::string place = StrCat(where, ".vocab['", text, "']");
    if (text.empty()) return absl::InvalidArgumentError(StrCat(place, ": a token without text"));
    SHIRA_ASSIGN_OR_RETURN(const int32_t id, JsonTokenId(value, place));
    if (static_cast<size_t>(id) >= tokens.size()) tokens.resize(static_cast<size_t>(id) + 1);
    std::string& token = tokens[static_cast<size_t>(id)];
    if (!token.empty()) {
      return absl::InvalidArgumentError(
          StrCat(place, " has the id ", id, ", which is that of '", token, "' too"));
    }
    token = text;
  }
  return tokens;
}

// False where it is absent or null.
absl::StatusOr<bool> Flag(const nlohmann::json& json, const char* key, std::string_view where) {
  const auto member = json.find(key);
  if (member == json.end() || member->is_null()) return false;
  return JsonBool(json, key, where);
}

// What this model does not do, and a value under which it need not.
absl::Status RefuseUnknownOptions(const nlohmann::json& json, std::string_view where) {
  SHIRA_ASSIGN_OR_RETURN(const bool byte_fallback, Flag(json, "byte_fallback", where));
  if (byte_fallback) {
    return absl::UnimplementedError(
        StrCat(where, ".byte_fallback: only byte-level BPE is known, which has no unknown bytes"));
  }
  const auto set = [&](const char* key) {
    const auto member = json.find(key);
    return member != json.end() && !member->is_null() && *member != "" && *member != 0.0;
  };
  for (const char* key : {"dropout", "continuing_subword_prefix", "end_of_word_suffix"}) {
    if (set(key)) return absl::UnimplementedError(StrCat(where, ".", key, " is not known"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<BpeModel> BpeModel::Create(std::vector<std::string> tokens,
                                          const std::vector<Merge>& merges, Options options) {
  BpeModel model;
  model.ignore_merges_ = options.ignore_merges;
  model.fuse_unknown_ = options.fuse_unknown;
  model.tokens_ = std::move(tokens);
  model.ids_.reserve(model.tokens_.size());
  for (size_t id = 0; id < model.tokens_.size(); ++id) {
    const std::string& text = model.tokens_[id];
    if (text.empty()) continue;
    const auto [entry, added] = model.ids_.try_emplace(text, static_cast<int32_t>(id));
    if (!added) {
      return absl::InvalidArgumentError(
          StrCat("token '", text, "' has two ids, ", entry->second, " and ", id));
    }
  }
  model.unknown_token_ = options.unknown_token;
  if (options.unknown_token.has_value()) model.unknown_id_ = model.TokenId(*options.unknown_token);
  model.merges_.reserve(merges.size());
  for (size_t rank = 0; rank < merges.size(); ++rank) {
    const auto& [left, right] = merges[rank];
    int32_t ids[3];
    const std::string texts[3] = {left, right, left + right};
    for (int i = 0; i < 3; ++i) {
      const std::optional<int32_t> id = model.TokenId(texts[i]);
      if (!id.has_value()) {
        return absl::InvalidArgumentError(StrCat("merge ", rank, " ('", left, "' and '", right,
                                                 "'): '", texts[i], "' is not in the vocabulary"));
      }
      ids[i] = *id;
    }
    model.merges_.insert_or_assign(std::pair(ids[0], ids[1]),
                                   Ranked{static_cast<int32_t>(rank), ids[2]});
  }
  return model;
}

absl::StatusOr<BpeModel> BpeModel::FromJson(const nlohmann::json& json, std::string_view where) {
  if (!json.is_object() || json.contains("type")) {
    SHIRA_ASSIGN_OR_RETURN(const std::string type, JsonString(json, "type", where));
    if (type != "BPE") return UnknownComponent(where, type, "BPE");
  }
  SHIRA_RETURN_IF_ERROR(RefuseUnknownOptions(json, where));

  Options options;
  SHIRA_ASSIGN_OR_RETURN(options.ignore_merges, Flag(json, "ignore_merges", where));
  SHIRA_ASSIGN_OR_RETURN(options.fuse_unknown, Flag(json, "fuse_unk", where));
  if (json.contains("unk_token") && !json["unk_token"].is_null()) {
    SHIRA_ASSIGN_OR_RETURN(options.unknown_token, JsonString(json, "unk_token", where));
  }
  SHIRA_ASSIGN_OR_RETURN(std::vector<std::string> tokens, TokensFromJson(json, where));
  SHIRA_ASSIGN_OR_RETURN(const nlohmann::json* elements, JsonArray(json, "merges", where));
  std::vector<Merge> merges;
  merges.reserve(elements->size());
  for (const nlohmann::json& element : *elements) {
    // The first line of merges.txt, which some files have taken along.
    if (element.is_string() && element.get_ref<const std::string&>().starts_with("#version")) {
      continue;
    }
    SHIRA_ASSIGN_OR_RETURN(Merge merge,
                           MergeFromJson(element, StrCat(where, ".merges[", merges.size(), "]")));
    merges.push_back(std::move(merge));
  }
  absl::StatusOr<BpeModel> model = Create(std::move(tokens), merges, std::move(options));
  if (!model.ok()) {
    return absl::Status(model.status().code(),
                        ToAbsl(StrCat(where, ": ", ToStd(model.status().message()))));
  }
  return model;
}

absl::Status BpeModel::Encode(std::string_view piece, std::vector<int32_t>& ids) const {
  if (ignore_merges_) {
    if (const std::optional<int32_t> whole = TokenId(piece); whole.has_value()) {
      ids.push_back(*whole);
      return absl::OkStatus();
    }
  }

  std::vector<Symbol> symbols;
  symbols.reserve(piece.size());
  bool unknown_before = false;
  for (size_t offset = 0; offset < piece.size();) {
    const size_t begin = offset;
    NextCharacter(piece, &offset);
    std::optional<int32_t> id = TokenId(piece.substr(begin, offset - begin));
    const bool unknown = !id.has_value();
    if (unknown && unknown_token_.has_value() && !unknown_id_.has_value()) {
      return absl::InvalidArgumentError(
          StrCat("the vocabulary has no token for '", piece.substr(begin, offset - begin),
                 "', nor for what is unknown ('", *unknown_token_, "')"));
    }
    if (unknown && !(unknown_before && fuse_unknown_)) id = unknown_id_;
    unknown_before = unknown;
    if (!id.has_value()) continue;
    const auto place = static_cast<int32_t>(symbols.size());
    symbols.push_back({*id, place - 1, place + 1});
  }
  if (symbols.empty()) return absl::OkStatus();
  symbols.back().next = -1;

  std::priority_queue<Candidate> queue;
  const auto consider = [&](int32_t left) {
    if (left < 0 || symbols[left].next < 0) return;
    const int32_t left_id = symbols[left].id;
    const int32_t right_id = symbols[symbols[left].next].id;
    const auto found = merges_.find(std::pair(left_id, right_id));
    if (found == merges_.end()) return;
    queue.push({found->second.rank, left, left_id, right_id, found->second.merged_id});
  };
  for (size_t left = 0; left + 1 < symbols.size(); ++left) consider(static_cast<int32_t>(left));

  while (!queue.empty()) {
    const Candidate best = queue.top();
    queue.pop();
    // Whether both are what they were when the candidate was found.
    Symbol& left = symbols[best.left];
    if (left.id != best.left_id || left.next < 0 || symbols[left.next].id != best.right_id)
      continue;
    Symbol& right = symbols[left.next];
    left.id = best.merged_id;
    left.next = right.next;
    right.id = -1;
    if (left.next >= 0) symbols[left.next].previous = best.left;
    consider(left.previous);
    consider(best.left);
  }
  for (int32_t place = 0; place >= 0; place = symbols[place].next) ids.push_back(symbols[place].id);
  return absl::OkStatus();
}

std::optional<int32_t> BpeModel::TokenId(std::string_view text) const {
  const auto found = ids_.find(ToAbsl(text));
  if (found == ids_.end()) return std::nullopt;
  return found->second;
}

}  // namespace shira
