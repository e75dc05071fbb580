// File: server/model/decoder_row.h
//
// What the forward pass takes: a batch is a list of these.

#ifndef SHIRA_SERVER_MODEL_DECODER_ROW_H_
#define SHIRA_SERVER_MODEL_DECODER_ROW_H_

#include <cstdint>

#include "absl/types/span.h"
#include "adapters/switch/compiled_state.h"
#include "server/model/kv_cache.h"

namespace shira {

// One sequence's part of a batch: `tokens` follow what `cache` holds.
struct DecoderRow {
  KvCache* cache = nullptr;
  absl::Span<const int32_t> tokens;
  bool wants_logits = false;             // of the last token
  const CompiledState* state = nullptr;  // whose weights the row is computed with
};

}  // namespace shira

#endif  // SHIRA_SERVER_MODEL_DECODER_ROW_H_
