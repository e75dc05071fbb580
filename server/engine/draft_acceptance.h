// File: server/engine/draft_acceptance.h
//
// How likely the tokens of a draft are right, learnt from one answer's own drafts.

#ifndef SHIRA_SERVER_ENGINE_DRAFT_ACCEPTANCE_H_
#define SHIRA_SERVER_ENGINE_DRAFT_ACCEPTANCE_H_

#include <array>
#include <cstddef>
#include <cstdint>

namespace shira {

// Apart by how many tokens matched before the draft (NgramIndex::Match): a match of sixteen is a text
// that is copied, one of two often chance. Also learns from drafts that were not run, whose first
// token is compared for nothing with the one that came: where drafts do not pay they are given up at
// once, and taken up again as soon as they would. Thread-compatible.
class DraftAcceptance {
 public:
  // Of a token behind such a match, if those before it in the draft were right; in (0, 1).
  double Of(int64_t match_length) const;

  // Of such a draft the first `right` tokens were what came, and the next one, if `wrong`, was not.
  void Observe(int64_t match_length, int64_t right, bool wrong);

 private:
  struct Estimate {
    double right = 0.0;  // older tokens count less
    double seen = 0.0;
  };
  // By the shortest match: 2, 3, 4, 8, 16.
  static constexpr std::array<int64_t, 5> kClasses = {2, 3, 4, 8, 16};
  // What is believed before anything was seen, as if of kPriorTokens tokens.
  static constexpr std::array<double, kClasses.size()> kPrior = {0.3, 0.4, 0.6, 0.75, 0.85};
  static constexpr double kPriorTokens = 2.0;
  // What a token still counts when the next one comes.
  static constexpr double kMemory = 0.95;

  static size_t ClassOf(int64_t match_length);

  std::array<Estimate, kClasses.size()> estimates_;
};

}  // namespace shira

#endif  // SHIRA_SERVER_ENGINE_DRAFT_ACCEPTANCE_H_
