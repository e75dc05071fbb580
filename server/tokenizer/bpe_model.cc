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

// False where it is absent or null.
absl::StatusOr<bool> Flag(const nlohmann::json& json, const char* key, std::string_view where) {
  const auto member = json.find(key);
  if (member == json.end() || member->is_null()) return false;
  return JsonBool(json, key, where);
}

// Empty where it is absent or null.
absl::StatusOr<std::string> Affix(const nlohmann::json& json, const char* key,
                                  std::string_view where) {
  const auto member = json.find(key);
  if (member == json.end() || member->is_null()) return std::string();
  return JsonString(json, key, where);
}

}  // namespace

absl::StatusOr<BpeModel> BpeModel::Create(const std::vector<std::string>& tokens,
                                          const std::vector<Merge>& merges, Options options) {
  SHIRA_ASSIGN_OR_RETURN(Vocabulary vocabulary, Vocabulary::FromTexts(tokens));
  return Create(std::move(vocabulary), merges, std::move(options));
}

absl::StatusOr<BpeModel> BpeModel::Create(Vocabulary vocabulary, const std::vector<Merge>& merges,
                                          Options options) {
  BpeModel model(std::move(vocabulary), std::move(options));
  const Options& given = model.options_;
  model.byte_tokens_ = ByteTokens(model.vocabulary_);
  if (given.unknown_token.has_value()) {
    model.unknown_id_ = model.vocabulary_.Id(*given.unknown_token);
  }
  model.merges_.reserve(merges.size());
  for (size_t rank = 0; rank < merges.size(); ++rank) {
    const auto& [left, right] = merges[rank];
    if (right.size() < given.subword_prefix.size()) {
      return absl::InvalidArgumentError(StrCat("merge ", rank, " ('", left, "' and '", right,
                                               "'): '", right, "' is shorter than the prefix '",
                                               given.subword_prefix, "'"));
    }
    int32_t ids[3];
    const std::string texts[3] = {left, right, left + right.substr(given.subword_prefix.size())};
    for (int i = 0; i < 3; ++i) {
      const std::optional<int32_t> id = model.vocabulary_.Id(texts[i]);
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
  const auto dropout = json.find("dropout");
  if (dropout != json.end() && !dropout->is_null() && *dropout != 0.0) {
    return absl::UnimplementedError(
        StrCat(where, ".dropout: this program tokenizes a text always in the same way"));
  }
  Options options;
  SHIRA_ASSIGN_OR_RETURN(options.ignore_merges, Flag(json, "ignore_merges", where));
  SHIRA_ASSIGN_OR_RETURN(options.fuse_unknown, Flag(json, "fuse_unk", where));
  SHIRA_ASSIGN_OR_RETURN(options.byte_fallback, Flag(json, "byte_fallback", where));
  SHIRA_ASSIGN_OR_RETURN(options.subword_prefix, Affix(json, "continuing_subword_prefix", where));
  SHIRA_ASSIGN_OR_RETURN(options.word_suffix, Affix(json, "end_of_word_suffix", where));
  if (json.contains("unk_token") && !json["unk_token"].is_null()) {
    SHIRA_ASSIGN_OR_RETURN(options.unknown_token, JsonString(json, "unk_token", where));
  }
  SHIRA_ASSIGN_OR_RETURN(const nlohmann::json* tokens, JsonMember(json, "vocab", where));
  SHIRA_ASSIGN_OR_RETURN(Vocabulary vocabulary,
                         Vocabulary::FromJson(*tokens, StrCat(where, ".vocab")));
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
  absl::StatusOr<BpeModel> model = Create(std::move(vocabulary), merges, std::move(options));
  if (!model.ok()) {
    return absl::Status(model.status().code(),
                        ToAbsl(StrCat(where, ": ", ToStd(model.status().message()))));
  }
  return model;
}

absl::StatusOr<std::vector<int32_t>> BpeModel::CharacterIds(std::string_view piece) const {
  std::vector<int32_t> ids;
  ids.reserve(piece.size());
  // An unknown token waits for the next known one, or for another unknown one that is not fused
  // with it: bytes that a character falls back to overtake it.
  bool unknown_waits = false;
  std::string decorated;
  for (size_t begin = 0, end = 0; begin < piece.size(); begin = end) {
    NextCharacter(piece, &end);
    std::string_view text = piece.substr(begin, end - begin);
    const bool prefixed = begin > 0 && !options_.subword_prefix.empty();
    if (prefixed || (end == piece.size() && !options_.word_suffix.empty())) {
      decorated = prefixed ? options_.subword_prefix : "";
      decorated += text;
      if (end == piece.size()) decorated += options_.word_suffix;
      text = decorated;
    }
    if (const std::optional<int32_t> id = vocabulary_.Id(text); id.has_value()) {
      if (unknown_waits) ids.push_back(*unknown_id_);
      unknown_waits = false;
      ids.push_back(*id);
      continue;
    }
    if (options_.byte_fallback && byte_tokens_.Append(text, ids)) continue;
    if (!options_.unknown_token.has_value()) continue;
    if (!unknown_id_.has_value()) return UnknownText(text, *options_.unknown_token);
    if (unknown_waits && !options_.fuse_unknown) ids.push_back(*unknown_id_);
    unknown_waits = true;
  }
  if (unknown_waits) ids.push_back(*unknown_id_);
  return ids;
}

absl::Status BpeModel::Encode(std::string_view piece, std::vector<int32_t>& ids) const {
  const bool whole = options_.ignore_merges ||
                     (options_.whole_line_breaks && piece.find_first_not_of('\n') == piece.npos);
  if (whole) {
    if (const std::optional<int32_t> id = vocabulary_.Id(piece); id.has_value()) {
      ids.push_back(*id);
      return absl::OkStatus();
    }
  }
  SHIRA_ASSIGN_OR_RETURN(const std::vector<int32_t> characters, CharacterIds(piece));
  if (characters.empty()) return absl::OkStatus();
  std::vector<Symbol> symbols;
  symbols.reserve(characters.size());
  for (const int32_t id : characters) {
    const auto place = static_cast<int32_t>(symbols.size());
    symbols.push_back({id, place - 1, place + 1});
  }
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

}  // namespace shira
