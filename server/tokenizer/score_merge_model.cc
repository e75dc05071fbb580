#include "server/tokenizer/score_merge_model.h"

#include <algorithm>
#include <queue>

#include "base/status_macros.h"
#include "server/tokenizer/utf8.h"

namespace shira {
namespace {

// A stretch of the piece, in a list of neighbours. Its place never changes: a merge makes the left
// one longer and the right one empty.
struct Symbol {
  uint32_t begin;
  uint32_t size;
  int32_t previous;
  int32_t next;  // -1: none
};

struct Candidate {
  float score;
  int32_t left;  // place
  int32_t right;
  uint32_t size;  // of both

  // std::priority_queue gives the greatest first.
  bool operator<(const Candidate& other) const {
    return score != other.score ? score < other.score : left > other.left;
  }
};

}  // namespace

ScoreMergeModel::ScoreMergeModel(Vocabulary vocabulary, std::vector<float> scores,
                                 std::optional<int32_t> unknown_id)
    : vocabulary_(std::move(vocabulary)), scores_(std::move(scores)), unknown_id_(unknown_id) {
  for (int32_t id = 0; id < vocabulary_.id_count(); ++id) {
    const std::string* text = vocabulary_.Text(id);
    if (text != nullptr) longest_token_ = std::max(longest_token_, text->size());
  }
}

absl::Status ScoreMergeModel::Encode(std::string_view piece, std::vector<int32_t>& ids) const {
  std::vector<Symbol> symbols;
  for (size_t begin = 0, end = 0; begin < piece.size(); begin = end) {
    NextCharacter(piece, &end);
    const auto place = static_cast<int32_t>(symbols.size());
    symbols.push_back({static_cast<uint32_t>(begin), static_cast<uint32_t>(end - begin), place - 1,
                       end == piece.size() ? -1 : place + 1});
  }

  std::priority_queue<Candidate> queue;
  const auto consider = [&](int32_t left) {
    if (left < 0 || symbols[left].next < 0) return;
    const int32_t right = symbols[left].next;
    const uint32_t size = symbols[left].size + symbols[right].size;
    if (size > longest_token_) return;
    const std::optional<int32_t> id = vocabulary_.Id(piece.substr(symbols[left].begin, size));
    if (id.has_value()) queue.push({scores_[static_cast<size_t>(*id)], left, right, size});
  };
  for (size_t left = 0; left + 1 < symbols.size(); ++left) consider(static_cast<int32_t>(left));

  while (!queue.empty()) {
    const Candidate best = queue.top();
    queue.pop();
    Symbol& left = symbols[best.left];
    Symbol& right = symbols[best.right];
    // Whether both are what they were when the candidate was found.
    if (left.size == 0 || right.size == 0 || left.size + right.size != best.size) continue;
    left.size = best.size;
    left.next = right.next;
    right.size = 0;
    if (left.next >= 0) symbols[left.next].previous = best.left;
    consider(left.previous);
    consider(best.left);
  }

  for (int32_t place = 0; place >= 0; place = symbols[place].next) {
    const std::string_view text = piece.substr(symbols[place].begin, symbols[place].size);
    if (const std::optional<int32_t> id = vocabulary_.Id(text); id.has_value()) {
      ids.push_back(*id);
    } else {
      SHIRA_RETURN_IF_ERROR(AppendBytes(text, ids));
    }
  }
  return absl::OkStatus();
}

absl::Status ScoreMergeModel::AppendBytes(std::string_view character,
                                          std::vector<int32_t>& ids) const {
  for (const char byte : character) {
    std::optional<int32_t> id = vocabulary_.Id(ByteTokenText(static_cast<unsigned char>(byte)));
    if (!id.has_value()) id = unknown_id_;
    if (!id.has_value()) return UnknownText(character, "<unk>");
    ids.push_back(*id);
  }
  return absl::OkStatus();
}

}  // namespace shira
