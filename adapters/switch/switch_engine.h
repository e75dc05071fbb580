// File: adapters/switch/switch_engine.h
//
// Keeps the resident weights at W(S) for one state S, and moves them from state to state in place,
// wherever a WeightMemory keeps them.
//
//   W(S) = round_to_dtype(float(W0) + sum of weight * scale * delta)      at touched elements; all
//   others are never written
//
// W(S) depends on S alone: values are computed from the pristine W0, and reverting copies saved
// originals. For one adapter the sum is what PEFT's merge() computes, bit for bit: float(W0) +
// delta * float(weight * scale) in fp32, rounded once to the dtype. Where several adapters meet,
// their fp32 terms and W0 are added in fp64 in the state's canonical order, rounded to fp32, then
// to the dtype. A term of kind kReplacement adds weight * (value - W0): with weight 1 the element
// becomes exactly the value.
//
//   SHIRA_ASSIGN_OR_RETURN(auto state, engine.Compile({{tone, 1.0}, {terse, 0.5}}));   // any
//   thread; may fail engine.Apply(state); // the weights' thread; cannot fail

#ifndef SHIRA_ADAPTERS_SWITCH_SWITCH_ENGINE_H_
#define SHIRA_ADAPTERS_SWITCH_SWITCH_ENGINE_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "adapters/sparse_adapter.h"
#include "adapters/switch/compiled_state.h"
#include "adapters/switch/weight_memory.h"
#include "base/parallel.h"
#include "base/sha256.h"
#include "base/weak_pool.h"

namespace shira {

struct WeightedAdapterRef {
  std::shared_ptr<const SparseAdapter> adapter;
  double weight = 1.0;
};

struct SwitchStats {
  int64_t written = 0;      // elements, each counted once
  absl::Duration duration;  // zero when the state was resident
};

// One parameter's hashes, as Verify() found them.
struct ParameterHashes {
  std::string name;
  Sha256Digest resident;  // the bytes in memory
  Sha256Digest base;      // as recorded when the engine was made
  // What the resident state makes of the base; nullopt when the bytes, with the originals put back,
  // are not the base: then an untouched element or a stored original was damaged, and the right
  // value is not known any more.
  std::optional<Sha256Digest> expected;
};

struct VerifyReport {
  StateKey state;
  std::vector<ParameterHashes> parameters;  // in the ParameterMap's order
  bool matches_base = false;
  bool matches_expected = false;
};

class SwitchEngine {
 public:
  struct Options {
    // Runs loops over parameters, on the thread that makes the engine or calls Verify().
    ParallelFor parallel_for = SerialFor;
    // Asked before each allocation of a compiled state; an error ends the compilation and is
    // returned from it.
    std::function<absl::Status(int64_t bytes)> reserve = [](int64_t) { return absl::OkStatus(); };
  };

  // `memory` must hold the pristine base, outlive the engine and have no other writer. Hashes
  // every parameter (about 1 s per GB on a core).
  SwitchEngine(WeightMemory& memory, Options options);

  // Computes a state's values. Any thread, at any time, also while Apply() runs on another (it
  // waits for it by parameter). INVALID_ARGUMENT: a weight is not finite, an adapter occurs twice,
  // or a fused value overflows the dtype (names parameter, row and column). NOT_FOUND: a parameter
  // that the map does not have. FAILED_PRECONDITION: another shape. Or the error of
  // Options::reserve.
  absl::StatusOr<std::shared_ptr<const CompiledState>> Compile(
      std::vector<WeightedAdapterRef> adapters) ABSL_LOCKS_EXCLUDED(mutex_);

  // Writes `state`, in one pass: entries in both states are written once, entries only in the
  // resident one get their originals back. Cannot fail and does not allocate. REQUIRES: `state` was
  // compiled by this engine; called from the one thread that owns the weights.
  SwitchStats Apply(std::shared_ptr<const CompiledState> state) ABSL_LOCKS_EXCLUDED(mutex_);

  // The base model's state, which has no entries.
  std::shared_ptr<const CompiledState> base() const { return base_; }
  // The state that the weights are in. Any thread.
  std::shared_ptr<const CompiledState> resident() const ABSL_LOCKS_EXCLUDED(mutex_);

  // Hashes the weights. Any thread; Apply() waits for it.
  VerifyReport Verify() const ABSL_LOCKS_EXCLUDED(mutex_);

  // Copies rows [first_row, last_row) of a parameter to `out` as they are in the base: what the
  // resident state has written is left out. DATA_LOSS if one of the elements that it has written is
  // not what it wrote. Any thread; Apply() waits for it. REQUIRES: `out` has the rows' size.
  absl::Status ReadPristine(int64_t parameter, int64_t first_row, int64_t last_row,
                            absl::Span<std::byte> out) const ABSL_LOCKS_EXCLUDED(mutex_);

  const ParameterMap& parameters() const { return memory_.parameters(); }
  // Of a parameter's pristine bytes.
  const Sha256Digest& base_hash(int64_t parameter) const { return base_hashes_[parameter]; }
  // SHA-256 over every parameter's name and pristine digest: the identity of the base.
  const Sha256Digest& base_digest() const { return base_digest_; }

 private:
  using OriginalsKey = std::pair<int64_t, Sha256Digest>;  // parameter, table

  // The pristine elements at a table's positions: a shared copy if there is one.
  std::shared_ptr<const ElementBuffer> Originals(int64_t parameter, const IndexTable& table)
      ABSL_LOCKS_EXCLUDED(mutex_, originals_mutex_);

  WeightMemory& memory_;
  const Options options_;
  const std::shared_ptr<const CompiledState> base_;
  std::vector<Sha256Digest> base_hashes_;  // by parameter; constant after construction
  Sha256Digest base_digest_;               // constant after construction

  // Held for writing while weights are written, for reading while they are read outside of the
  // weights' thread.
  mutable absl::Mutex mutex_;
  std::shared_ptr<const CompiledState> resident_ ABSL_GUARDED_BY(mutex_);

  absl::Mutex originals_mutex_;
  WeakPool<OriginalsKey, ElementBuffer> originals_ ABSL_GUARDED_BY(originals_mutex_);
};

}  // namespace shira

#endif  // SHIRA_ADAPTERS_SWITCH_SWITCH_ENGINE_H_
