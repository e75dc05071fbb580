#include "server/tokenizer/unigram_model.h"

#include <algorithm>
#include <limits>

#include "base/status_macros.h"
#include "base/strings.h"
#include "server/tokenizer/json_fields.h"
#include "server/tokenizer/utf8.h"

namespace shira {
namespace {

// How much less an unknown character is worth than the worst token.
constexpr double kUnknownPenalty = 10.0;

// The best way to cut the text before a place: its last token and what the whole is worth.
struct BestEnd {
  double score = 0;
  size_t begin = kNone;
  int32_t id = 0;

  static constexpr size_t kNone = std::numeric_limits<size_t>::max();
};

}  // namespace

absl::StatusOr<UnigramModel> UnigramModel::Create(
    const std::vector<std::pair<std::string, double>>& tokens, Options options) {
  if (options.unknown_id.has_value() && static_cast<size_t>(*options.unknown_id) >= tokens.size()) {
    return absl::InvalidArgumentError(
        StrCat("unk_id is ", *options.unknown_id, ", but there are ", tokens.size(), " tokens"));
  }
  UnigramModel model;
  model.options_ = options;
  double least = std::numeric_limits<double>::infinity();
  for (const auto& [text, score] : tokens) {
    const auto id = static_cast<int32_t>(model.scores_.size());
    model.vocabulary_.Add(text, id);
    if (!text.empty()) model.tokens_.Add(text, id);
    model.scores_.push_back(score);
    least = std::min(least, score);
  }
  model.byte_tokens_ = ByteTokens(model.vocabulary_);
  model.unknown_score_ = least - kUnknownPenalty;
  return model;
}

absl::StatusOr<UnigramModel> UnigramModel::FromJson(const nlohmann::json& json,
                                                    std::string_view where) {
  Options options;
  SHIRA_ASSIGN_OR_RETURN(options.byte_fallback, JsonBool(json, "byte_fallback", where, false));
  if (json.contains("unk_id") && !json["unk_id"].is_null()) {
    SHIRA_ASSIGN_OR_RETURN(options.unknown_id,
                           JsonTokenId(json["unk_id"], StrCat(where, ".unk_id")));
  }
  SHIRA_ASSIGN_OR_RETURN(const nlohmann::json* elements, JsonArray(json, "vocab", where));
  if (elements->size() > static_cast<size_t>(kMaxTokenId)) {
    return absl::InvalidArgumentError(StrCat(where, ".vocab has ", elements->size(),
                                             " tokens, more than the ", kMaxTokenId, " allowed"));
  }
  std::vector<std::pair<std::string, double>> tokens;
  tokens.reserve(elements->size());
  for (const nlohmann::json& element : *elements) {
    const bool pair = element.is_array() && element.size() == 2 && element[0].is_string() &&
                      element[1].is_number();
    if (!pair) {
      return absl::InvalidArgumentError(
          StrCat(where, ".vocab[", tokens.size(), "]: expected [text, score]"));
    }
    tokens.emplace_back(element[0].get<std::string>(), element[1].get<double>());
  }
  absl::StatusOr<UnigramModel> model = Create(tokens, options);
  if (model.ok()) return model;
  return absl::Status(model.status().code(),
                      ToAbsl(StrCat(where, ": ", ToStd(model.status().message()))));
}

absl::Status UnigramModel::Encode(std::string_view piece, std::vector<int32_t>& ids) const {
  SHIRA_ASSIGN_OR_RETURN(const std::vector<Part> parts, BestParts(piece));
  for (const Part& part : parts) {
    const std::string_view text = piece.substr(part.begin, part.end - part.begin);
    if (const std::optional<int32_t> id = vocabulary_.Id(text); id.has_value()) {
      ids.push_back(*id);
      continue;
    }
    if (options_.byte_fallback && byte_tokens_.Append(text, ids)) continue;
    // A part that is no token is made of unknown characters.
    ids.push_back(*options_.unknown_id);
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<UnigramModel::Part>> UnigramModel::BestParts(
    std::string_view piece) const {
  std::vector<BestEnd> best(piece.size() + 1);
  const auto consider = [&](size_t begin, size_t end, double score, int32_t id) {
    BestEnd& target = best[end];
    const double total = score + best[begin].score;
    if (target.begin == BestEnd::kNone || total > target.score) target = {total, begin, id};
  };
  for (size_t begin = 0, next = 0; begin < piece.size(); begin = next) {
    NextCharacter(piece, &next);
    bool single = false;
    tokens_.ForEachAt(piece, begin, [&](size_t end, int32_t id) {
      consider(begin, end, scores_[static_cast<size_t>(id)], id);
      single = single || end == next;
    });
    if (single) continue;
    const double total = unknown_score_ + best[begin].score;
    if (best[next].begin != BestEnd::kNone && total <= best[next].score) continue;
    if (!options_.unknown_id.has_value()) {
      return UnknownText(piece.substr(begin, next - begin), "unk_id");
    }
    best[next] = {total, begin, *options_.unknown_id};
  }

  std::vector<Part> parts;
  bool unknown_behind = false;
  for (size_t end = piece.size(); end > 0; end = best[end].begin) {
    const bool unknown = options_.unknown_id == best[end].id;
    if (unknown && unknown_behind) {
      parts.back().begin = best[end].begin;
    } else {
      parts.push_back({best[end].begin, end});
    }
    unknown_behind = unknown;
  }
  std::reverse(parts.begin(), parts.end());
  return parts;
}

}  // namespace shira
