#include "adapters/switch/state_key.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <utility>

#include "absl/strings/str_format.h"

namespace shira {

StateKey::StateKey() : digest_(Sha256().UpdateU64(0).Finish()) {}

absl::StatusOr<StateKey> StateKey::Create(std::vector<StateTerm> terms) {
  std::sort(terms.begin(), terms.end(),
            [](const StateTerm& a, const StateTerm& b) { return a.adapter < b.adapter; });
  Sha256 hash;
  hash.UpdateU64(terms.size());
  for (size_t i = 0; i < terms.size(); ++i) {
    if (!std::isfinite(terms[i].weight)) {
      return absl::InvalidArgumentError(
          absl::StrFormat("adapter %s: expected a finite weight, found %g", terms[i].adapter.Hex(),
                          terms[i].weight));
    }
    if (i > 0 && terms[i].adapter == terms[i - 1].adapter) {
      return absl::InvalidArgumentError(
          absl::StrFormat("adapter %s occurs twice: give it one weight", terms[i].adapter.Hex()));
    }
    // Adding zero turns -0 into +0: equal weights get equal digests.
    hash.Update(terms[i].adapter.Hex()).UpdateU64(std::bit_cast<uint64_t>(terms[i].weight + 0.0));
  }
  StateKey key;
  key.terms_ = std::move(terms);
  key.digest_ = hash.Finish();
  return key;
}

bool StateKey::Contains(const Sha256Digest& adapter) const {
  return std::any_of(terms_.begin(), terms_.end(),
                     [&](const StateTerm& term) { return term.adapter == adapter; });
}

}  // namespace shira
