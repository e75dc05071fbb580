#include "server/executor/check_rows.h"

#include "absl/container/flat_hash_set.h"
#include "base/strings.h"

namespace shira {

absl::Status CheckRows(absl::Span<const BatchRow> rows, int32_t vocab_size) {
  absl::flat_hash_set<const SequenceCache*> caches;
  for (size_t i = 0; i < rows.size(); ++i) {
    const BatchRow& row = rows[i];
    const auto problem = [i](const auto&... parts) {
      return absl::InvalidArgumentError(StrCat("forward pass, row ", i, ": ", parts...));
    };
    if (row.cache == nullptr) return problem("no cache");
    if (row.state == nullptr) return problem("no state");
    if (row.tokens.empty()) return problem("no tokens");
    if (!caches.insert(row.cache).second) return problem("its cache occurs twice");
    const int64_t tokens = static_cast<int64_t>(row.tokens.size());
    const int64_t room = row.cache->room();
    if (tokens > room) {
      return problem(tokens, " tokens for a cache with room for ", room);
    }
    if (row.drafted < 0 || row.drafted >= tokens || (row.drafted > 0 && !row.wants_logits)) {
      return problem(row.drafted, " of ", tokens, " tokens are drafted, and logits are ",
                     row.wants_logits ? "wanted" : "not wanted");
    }
    for (const int32_t token : row.tokens) {
      if (token < 0 || token >= vocab_size) {
        return problem("token ", token, " is outside the vocabulary of ", vocab_size);
      }
    }
  }
  return absl::OkStatus();
}

}  // namespace shira
