// File: server/engine/sequence_view.h
//
// What the policies see of a generation: plain values, taken between two steps.

#ifndef SHIRA_SERVER_ENGINE_SEQUENCE_VIEW_H_
#define SHIRA_SERVER_ENGINE_SEQUENCE_VIEW_H_

#include <cstdint>
#include <string_view>

#include "absl/time/time.h"
#include "base/sha256.h"

namespace shira {

// Unique within an engine.
using SequenceId = uint64_t;

struct SequenceView {
  SequenceId id = 0;
  std::string_view client = {};  // who shares with others; lives as long as the sequence
  Sha256Digest state;            // StateKey::digest() of the weights that it wants
  int64_t state_entries = 0;     // elements that this state changes; 0 until it is in memory
  bool prefill = false;          // prompt tokens are pending
  int64_t pending_tokens = 0;    // of the prompt, and not in the cache; 1 (per row) when decoding
  int64_t rows = 1;              // of a decode step: answers that are not finished
  int64_t context_tokens = 0;    // in the caches of all its rows
  int64_t tokens_to_come = 1;    // most that one of its rows can still generate; > 0
  int32_t priority = 0;          // higher goes first
  int64_t bypassed = 0;          // generations behind it that were admitted before it
  absl::Duration queued;         // since it was submitted
  absl::Duration waited;         // since it last took part in a step, or else was admitted
  absl::Duration time_left = absl::InfiniteDuration();  // until its deadline
};

}  // namespace shira

#endif  // SHIRA_SERVER_ENGINE_SEQUENCE_VIEW_H_
