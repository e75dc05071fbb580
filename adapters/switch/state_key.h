// File: adapters/switch/state_key.h
//
// What a state is: a set of adapters with weights, in canonical order, so that equal sets are equal
// keys whatever order they were named in. The empty set is the base model.

#ifndef SHIRA_ADAPTERS_SWITCH_STATE_KEY_H_
#define SHIRA_ADAPTERS_SWITCH_STATE_KEY_H_

#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "base/sha256.h"

namespace shira {

struct StateTerm {
  Sha256Digest adapter;  // SparseAdapter::digest
  double weight = 1.0;

  auto operator<=>(const StateTerm&) const = default;
};

// Immutable value type.
class StateKey {
 public:
  // The base model.
  StateKey();
  // Sorts the terms by digest. INVALID_ARGUMENT if a weight is not finite or an adapter occurs
  // twice.
  static absl::StatusOr<StateKey> Create(std::vector<StateTerm> terms);

  absl::Span<const StateTerm> terms() const { return terms_; }
  bool is_base() const { return terms_.empty(); }
  // Whether the adapter is one of the terms.
  bool Contains(const Sha256Digest& adapter) const;
  // Over the canonical terms; for caches, for KV reuse and for people.
  const Sha256Digest& digest() const { return digest_; }

  friend bool operator==(const StateKey& a, const StateKey& b) { return a.digest_ == b.digest_; }
  template <typename H>
  friend H AbslHashValue(H h, const StateKey& key) {
    return H::combine(std::move(h), key.digest_);
  }

 private:
  std::vector<StateTerm> terms_;
  Sha256Digest digest_;
};

}  // namespace shira

#endif  // SHIRA_ADAPTERS_SWITCH_STATE_KEY_H_
